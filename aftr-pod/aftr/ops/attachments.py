"""Which devices a pod was given: the network-status annotation, as Multus writes it and the kubelet shows it in a file.

The file is empty at first: the annotation is written while the pod starts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inotify_simple import INotify, flags

from aftr.ops.watch import folders_of
from dslite_contract.errors import DsliteError
from dslite_contract.schema import AftrPool

PATIENCE_S, LOOK_AGAIN_S = 120.0, 5.0
POD_DEVICE = "eth0"  # where nothing else is said (Kubernetes' own choice)
_EVENTS = flags.CREATE | flags.CLOSE_WRITE | flags.MOVED_TO


class AttachmentError(DsliteError):
    """The pod has not the devices that its pool names."""


def devices_of(pool: AftrPool, entries: Sequence[Any]) -> dict[str, str]:
    """Device of each of the pool's interfaces.  Raises AttachmentError with all that are missing.

    `entries`: {"name": "namespace/name", "interface": device, "default": bool} in the order of attachment; two interfaces of
    one attachment get its devices in their own order.
    """
    waiting: dict[str, list[str]] = {}
    for entry in entries:
        if not entry.get("default"):
            waiting.setdefault(entry["name"], []).append(entry["interface"])
    own = next((entry["interface"] for entry in entries if entry.get("default") and entry.get("interface")), POD_DEVICE)
    found: dict[str, str] = {}
    for interface in pool.spec.interfaces:
        if interface.sriov is None:
            found[interface.name] = own
            continue
        name = interface.sriov.network_attachment
        name = name if "/" in name else f"{pool.metadata.namespace or 'default'}/{name}"
        if waiting.get(name):
            found[interface.name] = waiting[name].pop(0)
    missing = [interface for interface in pool.spec.interfaces if interface.name not in found]
    if missing:
        wanted = ", ".join(f"{one.name} ({one.sriov.network_attachment})" for one in missing if one.sriov)
        raise AttachmentError(
            f"no device for {wanted}: is Multus installed, and does the NetworkAttachmentDefinition exist? "
            f"the pod has {', '.join(entry['name'] for entry in entries) or 'no attachment'}"
        )
    return found


def read_devices(pool: AftrPool, path: Path) -> dict[str, str]:
    """The same from the file as it is now."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        entries = json.loads(text) if text else []
    except (OSError, ValueError) as error:
        raise AttachmentError(f"{path} cannot be read: {error}") from error
    return devices_of(pool, entries)


def wait_for_devices(pool: AftrPool, path: Path, patience: float = PATIENCE_S) -> dict[str, str]:
    """The same as soon as all devices are there; raises AttachmentError after `patience` seconds."""
    deadline = time.monotonic() + patience
    with INotify() as inotify:
        for folder in folders_of(path):
            inotify.add_watch(folder, _EVENTS)
        while True:
            try:
                return read_devices(pool, path)
            except AttachmentError:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
                inotify.read(timeout=int(min(left, LOOK_AGAIN_S) * 1000))
