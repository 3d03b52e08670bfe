"""What belongs to the installation, not to a pool: chart values, as a YAML file that the operator reads at its start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from dslite_contract.errors import DsliteError


class SettingsError(DsliteError):
    """The settings file is wrong."""


class Part(BaseModel):
    """Base: frozen, no unknown fields, camelCase in YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)


class AftrSettings(Part):
    """Pods of all pools."""

    image: str = Field(description="Image of AFTR and embedded Redis.")
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    workers: int = Field(default=1, ge=1, le=64, description="Packet threads, one core each.")
    cpu: str = Field(default="", description="Cores that a pod requests; nothing: one for each worker.")
    mode: str = Field(default="auto", description="How devices are opened: auto, zerocopy, native, generic or packet.")
    huge_pages: bool = True
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    priority_class_name: str = ""


class StoreSettings(Part):
    """Redis of pools with an embedded store."""

    memory: str = "512Mi"
    storage: str = Field(default="1Gi", description="Size of its volume; nothing: an emptyDir, lost with the pod.")
    storage_class_name: str = ""


class Settings(Part):
    """All of it."""

    release: str = Field(description="Release of this operator's pod template.")
    aftr: AftrSettings
    store: StoreSettings = StoreSettings()
    monitoring: bool = Field(default=True, description="ServiceMonitors, where the cluster knows them.")


def load_settings(path: Path) -> Settings:
    """Reads the file; raises SettingsError."""
    try:
        return Settings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from error
