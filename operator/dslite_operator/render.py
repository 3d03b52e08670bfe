"""The pool's ConfigMap: the configuration that its pods read, and the pod templates of its release.  Pure, both ways.

What stands in it was accepted: the operator decides the same after a restart, and keeps it when an object is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import yaml

from dslite_contract.errors import ConfigurationError, DsliteError
from dslite_contract.load import Configuration, load_config
from dslite_contract.schema import Model
from dslite_operator.pod_template import CONFIG_FILE

Object = dict[str, Any]

RELEASE_FILE = "release.json"
OPERATORS_OWN = ("release", "replicas", "autoscaling", "deletion_drain_seconds", "rollout")  # no pod needs to know
LARGEST_TEXT = 900 << 10  # bytes; a ConfigMap holds 1 MiB


class RenderedError(DsliteError):
    """A ConfigMap that cannot be read."""


@dataclass(frozen=True)
class Release:
    """Pod templates as one release of the operator made them."""

    release: str
    image: str
    pod: Object
    store: Object | None = None


@dataclass(frozen=True)
class Rendered:
    """What a ConfigMap says."""

    configuration: Configuration
    text: str
    release: Release

    @property
    def config_hash(self) -> str:
        """The name of the configuration, as pods report it."""
        return config_hash(self.text)


def config_hash(text: str) -> str:
    """As `aftr run` names the file that it reads."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def spell(configuration: Configuration) -> str:
    """The file for the pods.  Defaults are left out, so that pods of an older release know every field."""
    whole = for_pods(configuration)
    pool, *groups = [document(one) for one in (whole.pool, *sorted(whole.groups, key=by_name))]
    return "---\n".join(yaml.safe_dump(one, sort_keys=False, width=120) for one in (pool, *groups))


def for_pods(configuration: Configuration) -> Configuration:
    """The configuration without what only the operator acts on."""
    spec = configuration.pool.spec
    defaults = {name: type(spec).model_fields[name].default for name in OPERATORS_OWN}
    pool = configuration.pool.model_copy(update={"spec": spec.model_copy(update=defaults)})
    return Configuration(pool, configuration.groups)


def by_name(group: Any) -> str:
    """Order of the groups."""
    return str(group.metadata.name)


def document(model: Model) -> Object:
    """An object as YAML has it."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def data(text: str, release: Release) -> dict[str, str]:
    """Contents of the ConfigMap."""
    return {CONFIG_FILE: text, RELEASE_FILE: json.dumps(asdict(release), sort_keys=True)}


def read(config_map: Object) -> Rendered:
    """What a ConfigMap says, but for what only a later release knows of its templates; raises RenderedError."""
    name = config_map["metadata"]["name"]
    try:
        text, release = config_map["data"][CONFIG_FILE], json.loads(config_map["data"][RELEASE_FILE])
        known = {one.name: release[one.name] for one in fields(Release) if one.name in release}
        return Rendered(load_config(text), text, Release(**known))
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        raise RenderedError(
            f"ConfigMap {name} is not as the operator wrote it ({error}): restore it, or delete it to have the pool accepted anew"
        ) from error
