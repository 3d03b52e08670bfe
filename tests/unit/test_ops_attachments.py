"""Devices of a pod by its network-status annotation."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from aftr.ops.attachments import AttachmentError, devices_of, read_devices, wait_for_devices
from contract_objects import ABSENT, full
from dslite_contract.schema import AftrPool

OWN = {"name": "cbr0", "interface": "eth0", "default": True}
ACCESS = {"name": "edge/aftr-access", "interface": "net1"}
OTHER = {"name": "net/b", "interface": "net2"}


def pool() -> AftrPool:
    return full().pool


def test_names_of_attachments_find_devices_whatever_their_order() -> None:
    assert devices_of(pool(), [OTHER, OWN, ACCESS]) == {"access": "net1", "internet": "eth0", "internet-b": "net2"}


def test_the_pods_own_device_may_have_another_name() -> None:
    entries = [OWN | {"interface": "ens3"}, ACCESS, OTHER]
    assert devices_of(pool(), entries)["internet"] == "ens3"


def test_two_interfaces_of_one_attachment_get_its_devices_in_order() -> None:
    edits = {"spec.interfaces[2].sriov.networkAttachment": "edge/aftr-access"}
    entries = [OWN, ACCESS, ACCESS | {"interface": "net2"}]
    assert devices_of(full(edits).pool, entries) == {"access": "net1", "internet": "eth0", "internet-b": "net2"}


def test_what_is_missing_is_said_with_what_there_is() -> None:
    with pytest.raises(
        AttachmentError, match=r"no device for internet-b \(net/b\): is Multus installed.*cbr0, edge/aftr-access"
    ):
        devices_of(pool(), [OWN, ACCESS])


def test_without_multus_a_pod_has_its_own_device_alone(tmp_path: Path) -> None:
    edits = {"spec.interfaces": "[{name: uplink, side: both, podNetwork: {}}]", "spec.routing": ABSENT}
    edits["spec.nat.pools[1].interface"] = "uplink"
    one_armed = full(edits).pool
    (tmp_path / "network-status").write_text("")
    assert read_devices(one_armed, tmp_path / "network-status") == {"uplink": "eth0"}


def swap(folder: Path, version: str, entries: list[dict[str, Any]]) -> None:
    """As the kubelet puts a new version of a volume in place."""
    (folder / version).mkdir()
    (folder / version / "network-status").write_text(json.dumps(entries) if entries else "")
    (folder / "new").symlink_to(version)
    (folder / "new").rename(folder / "..data")


def test_a_file_that_fills_later_is_waited_for(tmp_path: Path) -> None:
    swap(tmp_path, "..1", [])
    (tmp_path / "network-status").symlink_to("..data/network-status")
    later = threading.Timer(0.3, swap, (tmp_path, "..2", [OWN, ACCESS, OTHER]))
    later.start()
    assert wait_for_devices(pool(), tmp_path / "network-status", 10.0)["access"] == "net1"
    later.join()


def test_patience_ends_and_nonsense_is_named(tmp_path: Path) -> None:
    file = tmp_path / "network-status"
    file.write_text("[")
    with pytest.raises(AttachmentError, match="cannot be read"):
        read_devices(pool(), file)
    file.write_text("[]")
    with pytest.raises(AttachmentError, match="the pod has no attachment"):
        wait_for_devices(pool(), file, 0.1)
