"""`aftr run` with exactly the capabilities of its pod: AF_XDP, BGP and all; and none of them is there for nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import netns

from dslite_operator.pod_template import CAPABILITIES

pytestmark = pytest.mark.lab

INSIDE, OUTSIDE = f"dsl-caps-{os.getpid()}-a", f"dsl-caps-{os.getpid()}-b"
POOL = """
apiVersion: dslite.dev/v1alpha1
kind: AftrPool
metadata: {name: east, namespace: edge}
spec:
  slots: 1
  softwire: {prefix: 2001:db8:64::/64, domain: aftr.example.net}
  nat: {pools: [{name: default, prefixes: [192.0.2.0/28]}]}
  capacity: {mappingsPerSlot: 1024, extraSessionsPerSlot: 1024, subscribersPerSlot: 64}
  interfaces:
  - {name: uplink, side: both, podNetwork: {}}
  routing:
    bgp:
      localAsn: 64512
      peers:
      - {name: tor4, interface: uplink, address: 198.18.0.1, asn: 64500, families: [ipv4]}
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    for name in (INSIDE, OUTSIDE):
        netns.create(name)
    try:
        ip("-n", INSIDE, "link", "add", "eth0", "type", "veth", "peer", "name", "peer", "netns", OUTSIDE)
        for name, device, host in ((INSIDE, "eth0", 2), (OUTSIDE, "peer", 1)):
            ip("-n", name, "addr", "add", f"198.18.0.{host}/24", "dev", device)
            ip("-n", name, "addr", "add", f"2001:db8:ffff::{host}/64", "dev", device, "nodad")
            ip("-n", name, "link", "set", device, "up")
        ip("-n", INSIDE, "link", "set", "lo", "up")
        ip("-n", INSIDE, "route", "add", "default", "via", "198.18.0.1")
        ip("-n", INSIDE, "-6", "route", "add", "default", "via", "2001:db8:ffff::1")
        yield
    finally:
        for name in (INSIDE, OUTSIDE):
            netns.remove(name)


def status(folder: Path, capabilities: Sequence[str]) -> dict[str, Any]:
    """What /status says of an AFTR with these capabilities, as soon as it is ready."""
    (folder / "pool.yaml").write_text(POOL)
    (folder / "network-status").write_text("")
    bounding = ",".join(["-all", *(f"+{name.lower()}" for name in capabilities)])
    command = [
        "ip", "netns", "exec", INSIDE, "setpriv", "--no-new-privs", f"--bounding-set={bounding}", "prlimit", "--memlock=65536",
        str(Path(sys.executable).with_name("aftr")), "run", "--config", str(folder / "pool.yaml"), "--no-huge-pages",
        "--network-status", str(folder / "network-status"), "--status", "[::]:9464", "--socket", str(folder / "sock"),
        "--runtime", str(folder),
    ]  # fmt: skip
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                found = subprocess.run(
                    ["ip", "netns", "exec", INSIDE, "curl", "-s", "http://127.0.0.1:9464/status"],
                    capture_output=True,
                    check=False,
                )
                said: dict[str, Any] = json.loads(found.stdout) if found.stdout else {}
                if said.get("ready"):
                    return said
                time.sleep(0.2)
            raise AssertionError((folder / "log").read_text())
        finally:
            process.terminate()


def test_the_pods_capabilities_are_enough_for_af_xdp_and_bgp(tmp_path: Path) -> None:
    said = status(tmp_path, CAPABILITIES)
    assert said["interfaces"][0]["mode"] == "native", said["interfaces"][0]["sentence"]
    assert said["routing"] == {"tor4": "Active"}


@pytest.mark.parametrize("missing", ["BPF", "PERFMON", "IPC_LOCK"])
def test_each_of_them_is_needed_for_af_xdp(tmp_path: Path, missing: str) -> None:
    said = status(tmp_path, [name for name in CAPABILITIES if name != missing])
    assert said["interfaces"][0]["mode"] == "packet"
