"""The way from what there is to what there should be, as ordered steps.  Pure: a step says what to do, `apply.py` does it.

Any prefix of the steps may have been carried out when the operator ends: planning again gives the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dslite_operator.names import APPLIED_HASH, CONFIG_HASH, DELETION_COST
from dslite_operator.quantities import thousandths
from dslite_operator.redis import with_data

Object = dict[str, Any]
Name = tuple[str, str]  # kind and name, in the pool's namespace

OURS = ("StatefulSet", "NetworkPolicy", "ServiceMonitor", "Service")  # that may be wanted no longer
IMMUTABLE = ("volumeClaimTemplates", "podManagementPolicy")  # of a StatefulSet
OF_QUANTITIES = ("requests", "limits")  # of a container's or a volume's resources


@dataclass(frozen=True)
class Apply:
    """Server-side apply of an object."""

    object: Object


@dataclass(frozen=True)
class Delete:
    """An object that is wanted no longer."""

    object: Object


@dataclass(frozen=True)
class Annotate:
    """Annotations of a pod."""

    pod: str
    annotations: Mapping[str, str]


Step = Apply | Delete | Annotate


@dataclass(frozen=True)
class PodView:
    """A running pod, as far as planning goes: `load` is how many mappings it has (None: it did not say)."""

    name: str
    annotations: Mapping[str, str]
    load: int | None = None
    node: str = ""


def plan(
    desired: Sequence[Object], found: Mapping[Name, Object], pods: Sequence[PodView], config_hash: str
) -> list[Step]:
    """What is left to do, in order: what pods read, what they need, which of them may go, the pods, what they should run."""
    steps: list[Step] = []
    for made in desired:
        current = found.get(name_of(made))
        wanted = with_kept(made, current)
        if current is not None and matches(wanted, current):
            continue
        if wanted["kind"] == "Deployment" and current is not None:
            if replaces_pods(wanted, current) and is_store_changing(found, steps):
                continue
            steps += costs(wanted["spec"]["replicas"], current["spec"].get("replicas", 1), pods)
        steps.append(Apply(wanted))
    steps += told(pods, config_hash)
    names = {name_of(wanted) for wanted in desired}
    steps += [Delete(one) for name, one in sorted(found.items()) if name[0] in OURS and name not in names]
    return steps


def name_of(made: Object) -> Name:
    """Kind and name."""
    return made["kind"], made["metadata"]["name"]


def with_kept(wanted: Object, current: Object | None) -> Object:
    """With what an API server never changes once it is there."""
    if current is None or wanted["kind"] != "StatefulSet":
        return wanted
    spec = {key: value for key, value in wanted["spec"].items() if key not in IMMUTABLE}
    kept = {key: current["spec"][key] for key in IMMUTABLE if key in current["spec"]}
    template = with_data(spec["template"], kept.get("volumeClaimTemplates", ()))
    return {**wanted, "spec": spec | kept | {"template": template}}


def matches(wanted: Object, current: Object) -> bool:
    """Whether an object is what we applied (by its hash), and nobody has changed that since."""
    applied = current["metadata"].get("annotations", {}).get(APPLIED_HASH)
    return applied == wanted["metadata"]["annotations"][APPLIED_HASH] and contains(current, wanted)


def contains(current: Any, wanted: Any) -> bool:
    """Whether everything that is wanted is there; what others added does not matter."""
    if isinstance(wanted, dict):
        return isinstance(current, dict) and all(
            contains(counted(key, current.get(key)), counted(key, value))
            or (key not in current and value in ("", False, None, {}))
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        same = isinstance(current, list) and len(current) == len(wanted)
        return same and all(contains(its, value) for its, value in zip(current, wanted, strict=True))
    return bool(current == wanted)


def counted(key: str, value: Any) -> Any:
    """A field as it is compared: quantities by what they are worth, however an API server spells them."""
    if key in OF_QUANTITIES and isinstance(value, dict):
        return {name: thousandths(quantity) for name, quantity in value.items()}
    return value


def replaces_pods(wanted: Object, current: Object) -> bool:
    """Whether a Deployment would make new pods of all."""
    return not contains(current["spec"]["template"], wanted["spec"]["template"])


def is_store_changing(found: Mapping[Name, Object], steps: Sequence[Step]) -> bool:
    """Whether an embedded store is being replaced: pods that hand over their slots, and new ones, need it."""
    stores = [one for (kind, _), one in found.items() if kind == "StatefulSet"]
    touched = any(isinstance(step, Apply) and step.object["kind"] == "StatefulSet" for step in steps)
    return bool(stores) and (touched or not all(map(is_rolled_out, stores)))


def is_rolled_out(stateful: Object) -> bool:
    """Whether all pods of a StatefulSet are as it says, and ready."""
    status, wanted = stateful.get("status", {}), stateful["spec"]["replicas"]
    seen = status.get("observedGeneration") == stateful["metadata"].get("generation")
    return bool(seen and status.get("updatedReplicas", 0) == status.get("readyReplicas", 0) == wanted)


def costs(wanted: int, current: int, pods: Sequence[PodView]) -> Iterator[Annotate]:
    """Just before there are to be fewer pods: which go first."""
    if wanted >= current:
        return
    for place, pod in enumerate(leaving(pods)):
        if pod.annotations.get(DELETION_COST) != str(place):
            yield Annotate(pod.name, {DELETION_COST: str(place)})


def leaving(pods: Sequence[PodView]) -> Iterator[PodView]:
    """Those that say nothing, then each time the emptiest of the nodes with most pods: what is left stays spread."""
    yield from sorted((pod for pod in pods if pod.load is None), key=lambda pod: pod.name)
    left = sorted((pod for pod in pods if pod.load is not None), key=lambda pod: (pod.load, pod.name))
    while left:
        on_node = Counter(pod.node for pod in left)
        most = max(on_node.values())
        next_one = next(pod for pod in left if on_node[pod.node] == most)
        left.remove(next_one)
        yield next_one


def told(pods: Sequence[PodView], config_hash: str) -> Iterator[Annotate]:
    """An annotation that changes makes the kubelet bring a pod's folders up to date at once."""
    for pod in pods:
        if pod.annotations.get(CONFIG_HASH) != config_hash:
            yield Annotate(pod.name, {CONFIG_HASH: config_hash})
