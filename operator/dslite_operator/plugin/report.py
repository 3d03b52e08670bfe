"""`kubectl dslite report`: what support needs, in one archive, without what is nobody's business.

Passwords never are in what is collected; subscribers' addresses are replaced by numbers that are the same throughout.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from dslite_operator.names import COMPONENT_LABEL, MANAGER, NAME_LABEL, POOL_LABEL
from dslite_operator.plugin.cluster import Cluster, ClusterError

Object = dict[str, Any]

LOG_LINES = 2000
ADDRESS = re.compile(r"(?<![\w:])[0-9a-fA-F:]*:[0-9a-fA-F:]*:[0-9a-fA-F:]*")
QUOTED = r'"(?:[^"\\]|\\.)*"'
NO_WORD = r"(?!(?:true|false|null)(?=[\s,}\]]|$))"
IN_JSON = rf'((?:password|token|secret)"\s*:\s*)({QUOTED}|(?![{{\[]){NO_WORD}[^\s",}}]+)'
IN_TEXT = rf'((?:password|token|secret)\s*[:=]\s*)({QUOTED}|{NO_WORD}[^\s",]+)'
SECRETS = re.compile(rf'(?i){IN_JSON}|{IN_TEXT}|(rediss?(?:\+\w+)?://[^:@/\s]*:)[^\s"]+(?=@)')
DROPPED = ("managedFields", "kubectl.kubernetes.io/last-applied-configuration")


class Redaction:
    """Replaces addresses by numbers, the same for the same address."""

    def __init__(self) -> None:
        self._numbers: dict[IPv6Address, str] = {}

    def text(self, given: str) -> str:
        """Text without addresses of B4s and without passwords."""
        return ADDRESS.sub(lambda found: self._number(found[0]), SECRETS.sub(_hide, given))

    def _number(self, word: str) -> str:
        try:
            address = IPv6Address(word)
        except ValueError:  # a time of day
            return word
        return self._numbers.setdefault(address, f"ipv6-{len(self._numbers) + 1}")


def _hide(found: re.Match[str]) -> str:
    """What was JSON stays so: what follows a quoted name is quoted."""
    in_json, quoted = found[1], (found[4] or "").startswith('"')
    if in_json or quoted:
        return f'{in_json or found[3]}"(hidden)"'
    return f"{found[3] or found[5]}(hidden)"


def parts(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Names and texts of the archive's files."""
    yield "pools.json", spell(cluster.pools())
    yield "groups.json", spell(cluster.groups())
    yield "events.json", spell(cluster.events())
    for pool in cluster.pools():
        yield from of_labels(cluster, {POOL_LABEL: pool["metadata"]["name"]}, pool["metadata"]["name"])
    try:
        for lease in cluster.leases():
            namespace = lease["metadata"]["namespace"]
            yield from of_labels(cluster.within(namespace), {NAME_LABEL: MANAGER}, f"{MANAGER}-in-{namespace}")
    except ClusterError as error:  # whoever asks may have no rights there
        yield f"{MANAGER}.txt", f"{error}\n"


def of_labels(cluster: Cluster, labels: Mapping[str, str], name: str) -> Iterator[tuple[str, str]]:
    """What was made with these labels, of a pool or of the operator, and the pods' own words."""
    yield f"{name}.json", spell(cluster.made(labels))
    for pod in cluster.pods(labels):
        yield from of_pod(cluster, pod)


def of_pod(cluster: Cluster, pod: Object) -> Iterator[tuple[str, str]]:
    """One pod: an AFTR has slots and counters too."""
    name = pod["metadata"]["name"]
    yield f"{name}/pod.json", spell(pod)
    yield f"{name}/log", attempt(lambda pod: cluster.log(pod, LOG_LINES), name)
    if pod["metadata"]["labels"].get(COMPONENT_LABEL) == "aftr":
        yield f"{name}/slots.json", attempt(lambda pod: spell(cluster.aftr(pod, "show", "slots")), name)
        yield f"{name}/counters.json", attempt(lambda pod: spell(cluster.aftr(pod, "show", "counters")), name)


def attempt(ask: Callable[[str], str], pod: str) -> str:
    """What a pod says, or why it says nothing."""
    try:
        return ask(pod)
    except ClusterError as error:
        return f"{error}\n"


def spell(found: object) -> str:
    """JSON without what only API servers need."""
    return json.dumps(without(found), indent=1, sort_keys=True) + "\n"


def without(found: object) -> object:
    """A copy without `DROPPED`."""
    if isinstance(found, Mapping):
        return {key: without(value) for key, value in found.items() if key not in DROPPED}
    return [without(one) for one in found] if isinstance(found, list) else found


def write(cluster: Cluster, path: Path) -> int:
    """The archive (tar, gzip); how many files it has."""
    redaction, number = Redaction(), 0
    with tarfile.open(path, "w:gz") as archive:
        for name, text in parts(cluster):
            data = redaction.text(text).encode()
            info = tarfile.TarInfo(f"dslite-report/{name}")
            info.size, info.mtime = len(data), int(time.time())
            archive.addfile(info, io.BytesIO(data))
            number += 1
    return number
