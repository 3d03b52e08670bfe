"""The Secret of the store is changed as a kubelet changes it, under an AFTR that runs: its next connections have the new login."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from running_lab import AFTR, FAILOVER, Lab, lab_up, until
from two_aftrs import redis

pytestmark = pytest.mark.lab

NODE, USER, STATUS = "aftr-1", "aftr", "http://[::1]:9464/status"
RIGHTS = ("allkeys", "allchannels", "+@all")
TAKEN = '"secrets taken"'
SETTLED_S = 30.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Everything but an AFTR."""
    documents = list(yaml.safe_load_all(FAILOVER.read_text()))
    documents[0]["spec"] |= {"replicas": 1, "slots": 2}
    file = tmp_path_factory.mktemp("secrets") / "pool.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    with lab_up("secrets", file, "--b4s", "0", "--without-aftr") as made:
        yield made


def mount(folder: Path, version: int, **values: str) -> None:
    """A Secret as a kubelet mounts it, and mounts it anew: links through `..data`, which is swapped by a rename."""
    data = folder / f"..{version}"
    data.mkdir(parents=True)
    for name, value in values.items():
        (data / name).write_text(value)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(data.name)
    (folder / "..data_tmp").rename(folder / "..data")


@contextmanager
def running_aftr(lab: Lab, secrets: Path, log: Path) -> Iterator[None]:
    """One AFTR, as a pod has it: with a folder of Secrets, and its log as JSON."""
    aftr = lab.state["aftrs"][0]
    command = [
        str(AFTR), "run", "--config", lab.state["config"], "--access", "access", "--internet", "internet", "--status", "[::]:9464",
        "--socket", aftr["socket"], "--runtime", aftr["runtime"], "--member", NODE, "--secrets", str(secrets), "--log-json",
    ]  # fmt: skip
    with lab.running(NODE, "sh", "-c", f"exec {shlex.join(command)} >{log} 2>&1"):
        yield


def store(lab: Lab) -> dict[str, Any]:
    """What the AFTR says of its store; nothing before it says anything."""
    said = lab.shell(NODE, f"curl -sfg {STATUS} || echo '{{\"store\": {{}}}}'")
    found: dict[str, Any] = json.loads(said)["store"]
    return found


def is_well(lab: Lab) -> bool:
    found = store(lab)
    return bool(found.get("reachable")) and not found["trouble"]


def connections(lab: Lab) -> int:
    """How many Redis has of the pool's user."""
    return redis(lab, "CLIENT", "LIST").count(f"user={USER} ")


def hang_up(lab: Lab) -> None:
    """End all of them: they are made anew."""
    redis(lab, "CLIENT", "KILL", "USER", USER)


def test_a_changed_login_is_taken_by_an_aftr_that_runs(lab: Lab, tmp_path: Path) -> None:
    secrets, log = tmp_path / "secrets", tmp_path / "log"
    place = {"url": lab.state["store"]["url"], "username": USER}
    redis(lab, "ACL", "SETUSER", USER, "on", ">first", *RIGHTS)
    mount(secrets / "store", 1, password="first", **place)
    with running_aftr(lab, secrets, log):
        until(lambda: is_well(lab), "the store lets it in with the first password", SETTLED_S)
        redis(lab, "ACL", "SETUSER", USER, ">second")
        mount(secrets / "store", 2, password="second", **place)
        until(lambda: log.read_text().count(TAKEN) == 1, "it has taken the second", SETTLED_S)
        redis(lab, "ACL", "SETUSER", USER, "<first")
        hang_up(lab)
        until(lambda: connections(lab) > 0 and is_well(lab), "it is let in with the second", SETTLED_S)
        mount(secrets / "store", 3, password="third", **place)
        until(lambda: log.read_text().count(TAKEN) == 2, "it has taken a wrong one", SETTLED_S)
        assert is_well(lab), "open connections stay"
        hang_up(lab)
        until(lambda: "WRONGPASS" in store(lab)["trouble"], "it says what is wrong", SETTLED_S)
        mount(secrets / "store", 4, password="second", **place)
        until(lambda: is_well(lab), "it is let in again", SETTLED_S)
        mount(secrets / "store", 5, password="second", url="redis://10.64.0.99:6379", username=USER)
        until(lambda: "another store takes new pods" in log.read_text(), "another place is refused", SETTLED_S)
        assert is_well(lab)
