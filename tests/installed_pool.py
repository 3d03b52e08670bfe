"""A pool that the operator runs in a cluster of the tests: what README says to type, and what an engineer looks at."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from running_cluster import Cluster, dslite_cluster
from running_lab import ROOT, Lab, lab_up

SAMPLE, POOL = ROOT / "samples" / "kubernetes" / "sriov.yaml", "east"
SETTLED_S, FORGOTTEN_S = 120.0, 90.0
Object = dict[str, Any]


def commands(document: str, heading: str) -> list[str]:
    """Those of a section of a document, in order."""
    text = (ROOT / document).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^    (\S.*)$", text, re.MULTILINE)


def quick_start() -> list[str]:
    """The commands of README's section on Kubernetes."""
    return commands("README.md", "On Kubernetes")


@contextmanager
def outside_of(cluster: Cluster, name: str, *options: str, file: Path = SAMPLE) -> Iterator[Lab]:
    """A router with BGP, two homes with B4s, a server on the internet; joined to the cluster's devices."""
    with lab_up(name, file, "--outside", *options) as lab:
        joined = dslite_cluster(cluster.name, "join", lab.name)
        assert joined.returncode == 0, joined.stderr
        yield lab


def until(true: Callable[[], bool], what: str, seconds: float = SETTLED_S) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not after {seconds:g} s: {what}"
        time.sleep(0.2)


def reaches(lab: Lab, b4: Object) -> bool:
    """Whether the AFTR that serves a B4 answers its ping."""
    ping = f"ping -n -q -c 1 -W 1 {b4['tunnelAddress']} >/dev/null && echo yes || echo no"
    return lab.shell(b4["name"], ping).strip() == "yes"


@dataclass(frozen=True)
class Pool:
    """An AftrPool in the namespace of the kubeconfig's context."""

    cluster: Cluster
    name: str

    def pods(self) -> list[Object]:
        """Its AFTRs that are not on their way out."""
        labels = f"dslite.dev/pool={self.name},app.kubernetes.io/component=aftr"
        found = self.cluster.get("pods", "-l", labels, "--field-selector=status.phase=Running")["items"]
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    def ready(self) -> list[str]:
        """Names of those that are ready."""
        return [
            pod["metadata"]["name"]
            for pod in self.pods()
            if any((one["type"], one["status"]) == ("Ready", "True") for one in pod["status"].get("conditions", ()))
        ]

    def uids(self) -> dict[str, int]:
        """Restarts of its AFTRs, by UID."""
        return {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in self.pods()}

    def read(self) -> Object:
        found: Object = self.cluster.get("aftr", self.name)
        return found

    def patch(self, **fields: Any) -> None:
        """Change fields of its spec."""
        patch = json.dumps({"spec": fields})
        self.cluster.kubectl("patch", "aftr", self.name, "--type=merge", "--patch", patch)

    def conditions(self) -> dict[str, str]:
        """Sentences by type and status, such as {"Ready=True": "2 of 2 pods are ready"}."""
        found = self.read().get("status", {}).get("conditions", [])
        return {f"{one['type']}={one['status']}": one["message"] for one in found}

    def is_settled(self) -> bool:
        """Whether all pods that there should be are ready, with the newest template, serve all slots, and routers know."""
        if not {"Accepted=True", "Ready=True", "Advertised=True", "StoreReachable=True"} <= self.conditions().keys():
            return False
        body, deployment = self.read(), self.cluster.get("deployment", f"{self.name}-aftr")
        status, wanted = deployment["status"], body["spec"]["replicas"]
        numbers = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
        seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
        said = body.get("status", {})
        current = said.get("observedGeneration") == body["metadata"]["generation"] and said.get("replicas") == wanted
        return seen and numbers == [wanted] * 3 and current and len(self.pods()) == wanted

    def settle(self, seconds: float = SETTLED_S) -> None:
        deadline = time.monotonic() + seconds
        while not self.is_settled():
            assert time.monotonic() < deadline, self.story()
            time.sleep(0.5)

    def scale(self, replicas: int) -> None:
        """`kubectl scale`, until it is so."""
        self.cluster.kubectl("scale", f"aftr/{self.name}", f"--replicas={replicas}")
        self.settle()

    def strike(self) -> None:
        """One of its AFTRs is deleted by force; then all is well again."""
        victim = self.pods()[0]["metadata"]["name"]
        self.cluster.kubectl("delete", "pod", victim, "--force", "--grace-period=0")
        until(lambda: victim not in [pod["metadata"]["name"] for pod in self.pods()], "it is gone")
        self.settle()

    def members(self) -> set[str]:
        """Who shares the pool, as its store says."""
        login = f"-u redis://aftr:$(cat /etc/dslite/secrets/store/password)@{self.name}-store:6379 --no-auth-warning"
        keys = f"redis-cli {login} hkeys default/{self.name}:members"
        return set(self.cluster.kubectl("exec", self.pods()[0]["metadata"]["name"], "--", "sh", "-c", keys).split())

    def node_of_the_store(self) -> str:
        """Where its Redis runs."""
        return str(self.cluster.get("pod", f"{self.name}-store-0")["spec"]["nodeName"])

    def forget(self) -> None:
        """Until the dead are struck off: while they may live, nobody serves without the store (`failsafe: strict`)."""
        until(lambda: self.members() == self.uids().keys(), "the store has forgotten who died", FORGOTTEN_S)

    def story(self) -> str:
        """What the pool and its AFTRs say, for the one who finds out why a test failed."""
        names = [pod["metadata"]["name"] for pod in self.pods()]
        said = [f"{name}:\n{self.cluster.kubectl('logs', '--tail=60', name)}" for name in names]
        return "\n".join(
            [json.dumps(self.conditions(), indent=1), self.cluster.shell(f"kubectl dslite status {self.name}"), *said]
        )

    def aftr_json(self, pod: Object, *words: str) -> Any:
        """What `aftr WORDS -o json` prints in one of its AFTRs."""
        return json.loads(self.cluster.kubectl("exec", pod["metadata"]["name"], "--", "aftr", *words, "-o", "json"))

    def logs(self, pod: Object) -> Iterator[dict[str, str]]:
        """Log lines of an AFTR."""
        for line in self.cluster.kubectl("logs", pod["metadata"]["name"]).splitlines():
            if line.startswith("{"):
                yield json.loads(line)


def installed(cluster: Cluster) -> Pool:
    """The pool of README's quick start, once it says that all is well."""
    for command in quick_start():
        cluster.shell(command)
    found = Pool(cluster, POOL)
    found.settle()
    return found


def is_answered(cluster: Cluster) -> None:
    """The operator makes a change, there and back, that it makes only with an answer of the AFTRs: the keys fit."""
    before = cluster.get("b4group", "homes")["spec"]["prefixes"]
    for prefixes in ([*before, "2001:db8:f000::/40"], before):
        patch = json.dumps({"spec": {"prefixes": prefixes}})
        cluster.kubectl("patch", "b4group", "homes", "--type=merge", "--patch", patch)
        until(lambda: is_in_force(cluster.get("b4group", "homes")), "the operator was answered")


def is_in_force(group: Object) -> bool:
    """Whether what a B4Group asks for now is accepted."""
    (accepted,) = [one for one in group["status"]["conditions"] if one["type"] == "Accepted"]
    return (accepted["status"], accepted["observedGeneration"]) == ("True", group["metadata"]["generation"])
