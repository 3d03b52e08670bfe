"""The status of a pool and of its groups: conditions with the sentences that explain them.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dslite_contract.rules import owner_name
from dslite_contract.schema import LARGEST_SLOTS, AftrPool
from dslite_contract.slots import nat_pool_capacity, slot_address, slot_fqdn, slot_prefixes
from dslite_contract.status import LONGEST_SENTENCE
from dslite_operator.accept import Lines
from dslite_operator.names import Key, selecting, selector
from dslite_operator.render import Rendered

Object = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """One AFTR: its Pod, and what its status port said (None: nothing)."""

    pod: Object
    said: Object | None

    @property
    def name(self) -> str:
        """Of the pod."""
        return str(self.pod["metadata"]["name"])

    @property
    def ready(self) -> bool:
        """As its kubelet sees it."""
        return condition_of(self.pod, "Ready").get("status") == "True"

    @property
    def started(self) -> bool:
        """Whether its container ever has: before, it has no mappings."""
        return bool(self.pod["status"].get("phase") != "Pending")

    @property
    def mappings(self) -> int | None:
        """Live mappings of the slots that it serves; None when it does not say."""
        return None if self.said is None else sum(slot.get("mappings", 0) for slot in served(self.said))


@dataclass(frozen=True)
class Facts:
    """Everything that the status says."""

    key: Key
    generation: int
    wanted: int  # pods
    rendered: Rendered | None
    refusals: Mapping[str, Lines]
    reports: tuple[Report, ...]
    release: str = ""  # that is asked for
    scaling: str = ""
    draining: Lines = ()
    stores: tuple[Object, ...] = ()  # pods of the embedded store


class Verdict(NamedTuple):
    """One condition."""

    type: str
    status: str
    reason: str
    message: str


def condition_of(body: Object, kind: str) -> Object:
    """A condition in an object's status, {} for none."""
    found = (one for one in body.get("status", {}).get("conditions", ()) if one["type"] == kind)
    return next(found, {})


def served(said: Object) -> list[Object]:
    """The slots that an AFTR serves."""
    return [slot for slot in said.get("slots", ()) if slot.get("state") == "open"]


def serving(every: Iterable[Object]) -> set[int]:
    """The numbers of those that several serve."""
    return {slot["slot"] for said in every for slot in served(said)}


def unserved(slots: Iterable[int], reports: Iterable[Report]) -> list[int]:
    """Those of the slots that no AFTR says it serves."""
    its = serving(one.said for one in reports if one.said)
    return [number for number in slots if number not in its]


def owners(reports: Iterable[Report]) -> set[tuple[int, int | None, str]]:
    """Who serves which slot, and since which epoch. The same before and after all were asked: each slot was counted, and once."""
    return {(slot["slot"], slot.get("epoch"), one.name) for one in reports if one.said for slot in served(one.said)}


def ever_served(pool: Object) -> list[int]:
    """The slots that had an owner at any time, by the pool's status: of these the store may have mappings."""
    return [slot["slot"] for slot in pool.get("status", {}).get("slots", ()) if "epoch" in slot]


# ---------------------------------------------------------------- conditions
def verdicts(facts: Facts) -> Iterator[Verdict]:
    """All conditions of a pool."""
    yield accepted(facts, owner_name("AftrPool", facts.key.name))
    yield ready(facts)
    yield advertised(facts)
    yield store_reachable(facts)
    yield capacity_available(facts)
    yield draining(facts)


def accepted(facts: Facts, owner: str) -> Verdict:
    """Whether what the object asks for is in force."""
    lines = facts.refusals.get(owner, ())
    if lines:
        kept = "" if facts.rendered is None else "; what was accepted before stays in force"
        return Verdict("Accepted", "False", "Refused", "; ".join(lines) + kept)
    if facts.rendered is None:
        return Verdict("Accepted", "False", "NoPool", "the AftrPool is not accepted")
    stored, asked = facts.rendered.release.release, facts.release
    if asked and asked != stored:
        message = f"release {asked} is not this operator's: pods keep the template of {stored}"
        return Verdict("Accepted", "True", "OtherRelease", message)
    return Verdict("Accepted", "True", "InForce", f"configuration {facts.rendered.config_hash} is in force")


def ready(facts: Facts) -> Verdict:
    """Whether all pods serve, with the configuration that is in force."""
    reports, wanted = facts.reports, facts.wanted
    good = [one for one in reports if one.ready]
    sentences = [f"{len(good)} of {wanted} pods are ready", *facts_of_pods(facts)]
    if facts.scaling:
        sentences.append(facts.scaling)
    enough = facts.rendered is not None and len(good) >= wanted
    reason = "AllReady" if enough else "PodsMissing"
    return Verdict("Ready", "True" if enough else "False", reason, "; ".join(sentences))


def facts_of_pods(facts: Facts) -> Iterator[str]:
    """What pods lack, in their own words."""
    running = facts.rendered.config_hash if facts.rendered else ""
    for one in facts.reports:
        if one.said is None:
            if one.ready:
                yield f"{one.name} does not answer on its status port"
            continue
        if one.said["missing"]:
            yield f"{one.name}: {', '.join(one.said['missing'])}"
        if one.said["config"]["lastError"]:
            yield f"{one.name} refuses the configuration: {one.said['config']['lastError']}"
        elif one.said["config"]["hash"] != running:
            yield f"{one.name} runs configuration {one.said['config']['hash']}"


def advertised(facts: Facts) -> Verdict:
    """Whether routers know where each slot is."""
    spec = facts.rendered.configuration.pool.spec if facts.rendered else None
    missing = [] if spec is None else unserved(range(spec.slots), facts.reports)
    if spec is None or missing:
        return Verdict("Advertised", "False", "SlotsUnserved", f"no pod serves slots {ranges(missing)}")
    if spec.routing is None:
        return Verdict("Advertised", "True", "Static", "all slots are served; without spec.routing, routes are static")
    down = [
        f"{one.name}: session {name} is {state}"
        for one in facts.reports
        for name, state in ((one.said or {}).get("routing") or {}).items()
        if state != "Established"
    ]
    if down:
        return Verdict("Advertised", "False", "SessionsDown", "; ".join(down))
    return Verdict("Advertised", "True", "Advertised", "all slots are served, all sessions are established")


def store_reachable(facts: Facts) -> Verdict:
    """Whether the pods reach the store."""
    spec = facts.rendered.configuration.pool.spec if facts.rendered else None
    if spec is not None and spec.store is None:
        return Verdict("StoreReachable", "True", "NoStore", "bindings are kept in the one AFTR's memory alone")
    stores = [(one.name, one.said.get("store")) for one in facts.reports if one.said]
    lost = [
        f"{name}: {store['trouble'] or 'not reached'}" for name, store in stores if store and not store["reachable"]
    ]
    waiting = [f"{pod['metadata']['name']}: {why}" for pod in facts.stores if (why := why_waiting(pod))]
    if lost:
        return Verdict("StoreReachable", "False", "Unreachable", "; ".join([*waiting, *lost]))
    if not any(store for _, store in stores):
        silent = "no pod says whether it reaches the store"
        return Verdict("StoreReachable", "Unknown", "NoPods", "; ".join([silent, *waiting]))
    return Verdict("StoreReachable", "True", "Reachable", "all pods reach the store")


def unschedulable(pod: Object) -> Object:
    """The condition of a pod that has no node, {} for one that has."""
    found = condition_of(pod, "PodScheduled")
    return found if found.get("status") == "False" else {}


def why_waiting(pod: Object) -> str:
    """Why a pod does not run, in the scheduler's or its kubelet's words; nothing where they say none."""
    if scheduling := unschedulable(pod):
        return str(scheduling.get("message", "it has no node"))
    states = [one.get("state", {}).get("waiting", {}) for one in pod["status"].get("containerStatuses", ())]
    return "; ".join(": ".join(one[key] for key in ("reason", "message") if key in one) for one in states if one)


def capacity_available(facts: Facts) -> Verdict:
    """Whether the cluster has room for the pods: devices, memory, cores."""
    waiting = [f"{one.name}: {why_waiting(one.pod)}" for one in facts.reports if unschedulable(one.pod)]
    if waiting:
        return Verdict("CapacityAvailable", "False", "Unschedulable", "; ".join(waiting))
    return Verdict("CapacityAvailable", "True", "Scheduled", "every pod has a node")


def draining(facts: Facts) -> Verdict:
    """What ends when its mappings have."""
    if facts.draining:
        return Verdict("Draining", "True", "Waiting", "; ".join(facts.draining))
    return Verdict("Draining", "False", "Nothing", "nothing is being drained")


def ranges(numbers: Sequence[int]) -> str:
    """[0, 1, 2, 5] as 0-2, 5."""
    if not numbers:
        return "at all"
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def conditions(verdicts: Iterable[Verdict], before: Object, generation: int, now: str) -> list[Object]:
    """Conditions for the API: one that has not turned keeps its time."""
    found = []
    for verdict in verdicts:
        old = condition_of(before, verdict.type)
        since = old["lastTransitionTime"] if old.get("status") == verdict.status else now
        message = (
            verdict.message
            if len(verdict.message) <= LONGEST_SENTENCE
            else verdict.message[: LONGEST_SENTENCE - 1] + "…"
        )
        found.append(
            {
                "type": verdict.type, "status": verdict.status, "reason": verdict.reason, "message": message,
                "lastTransitionTime": since, "observedGeneration": generation,
            }
        )  # fmt: skip
    return found


# ---------------------------------------------------------------- the whole
def pool_status(facts: Facts, before: Object, now: str) -> Object:
    """The status of a pool; `before` is the object as it was read."""
    reports = facts.reports
    status: Object = {
        "observedGeneration": facts.generation,
        "replicas": len(reports),
        "readyReplicas": sum(one.ready for one in reports),
        "wantedReplicas": facts.wanted,
        "selector": selecting(selector(facts.key.name, "aftr")),
        "conditions": conditions(verdicts(facts), before, facts.generation, now),
    }
    if facts.rendered is None:
        return status
    pool = facts.rendered.configuration.pool
    slots = slot_statuses(pool, reports, before)
    blocks = [slot for one in reports if one.said for slot in served(one.said)]
    return status | {
        "release": facts.rendered.release.release,
        "configHash": facts.rendered.config_hash,
        "subscribers": sum(slot.get("subscribers", 0) for slot in slots),
        "mappings": sum(slot.get("mappings", 0) for slot in slots),
        "portUtilizationPercent": percent(
            sum(slot["blocks"] for slot in blocks), sum(slot["blocksFree"] for slot in blocks)
        ),
        "natPools": [capacity(pool, nat_pool.name) for nat_pool in pool.spec.nat.pools],
        "slots": slots,
    }


def capacity(pool: AftrPool, name: str) -> Object:
    """What a NAT pool can serve."""
    found = nat_pool_capacity(pool, name)
    return {
        "name": name, "addresses": found.addresses, "blocksPerAddress": found.blocks_per_address,
        "subscribers": found.subscribers, "subscribersAtMostBlocks": found.subscribers_at_most_blocks,
    }  # fmt: skip


def percent(total: int, free: int) -> int:
    """The share of `total` that is not free."""
    return round(100 * (1 - free / total)) if total else 0


def slot_statuses(pool: AftrPool, reports: Sequence[Report], before: Object) -> list[Object]:
    """Each slot, by the word of the pod that serves it with the highest epoch; one that nobody serves keeps its epoch."""
    epochs = {slot["slot"]: slot.get("epoch") for slot in before.get("status", {}).get("slots", ())}
    best: dict[int, tuple[int, str, Object]] = {}
    for one in reports:
        for slot in served(one.said) if one.said else ():
            epoch = slot.get("epoch", 0)
            if slot["slot"] not in best or best[slot["slot"]][0] < epoch:
                best[slot["slot"]] = (epoch, one.name, slot)
    numbers = range(min(pool.spec.slots, LARGEST_SLOTS))
    return [slot_status(pool, number, best.get(number), epochs.get(number)) for number in numbers]


def slot_status(pool: AftrPool, number: int, found: tuple[int, str, Object] | None, before: int | None) -> Object:
    """One slot."""
    status: Object = {
        "slot": number,
        "address": str(slot_address(pool, number)),
        "fqdn": slot_fqdn(pool, number),
        "prefixes": [str(part.network) for part in slot_prefixes(pool, number)],
    }
    if found is None:
        return status if before is None else status | {"epoch": before}
    epoch, pod, slot = found
    return status | {
        "pod": pod, "epoch": epoch, "subscribers": slot["subscribers"], "mappings": slot["mappings"],
        "portUtilizationPercent": percent(slot["blocks"], slot["blocksFree"]),
    }  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What a B4Group's status says of its distribution: conditions, and other fields."""

    verdicts: tuple[Verdict, ...] = ()
    status: Object = field(default_factory=dict)


def group_status(facts: Facts, group: Object, now: str, told: Told | None = Told()) -> Object:
    """The status of one B4Group; None: nobody knows yet of its distribution, what is said of that stays."""
    verdict = accepted(facts, owner_name("B4Group", group["metadata"]["name"]))
    generation = group["metadata"]["generation"]
    if told is None:
        return {**saying(verdict, group, now), "observedGeneration": generation}
    found = conditions([verdict, *told.verdicts], group, generation, now)
    return {"observedGeneration": generation, "conditions": found, **told.status}


def troubled(body: Object, sentence: str, now: str) -> Object:
    """The status of an object while something keeps us from going on: `Accepted` says what, the rest is as it was."""
    return saying(Verdict("Accepted", "Unknown", "Trouble", sentence), body, now)


def saying(verdict: Verdict, body: Object, now: str) -> Object:
    """The status of an object with one condition of many as it is now."""
    before = body.get("status", {})
    others = [one for one in before.get("conditions", ()) if one["type"] != verdict.type]
    return {**before, "conditions": [*conditions([verdict], body, body["metadata"]["generation"], now), *others]}


NUMBERS = (
    "subscribers",
    "mappings",
    "portUtilizationPercent",
    "told",
    "sessions",
    "softwires",
    "strays",
    "straySoftwires",
)  # that change all the time


# in sentences: live mappings, seconds that are left; no part of a name, an address or a time
COUNTS = re.compile(r"(?<![^\s(])[0-9][0-9,]*(?=[;.:)]*(?:\s|$))")


def without_numbers(status: Object) -> Object:
    """What is worth telling at once."""
    slots = [{key: value for key, value in slot.items() if key not in NUMBERS} for slot in status.get("slots", ())]
    said = [{**one, "message": COUNTS.sub("", one["message"])} for one in status.get("conditions", ())]
    return {key: value for key, value in status.items() if key not in NUMBERS} | {"slots": slots, "conditions": said}


def is_said(old: Object, new: Object) -> bool:
    """Whether a condition says what it said before: of one generation, other numbers are nothing new."""
    if not old or old["status"] != new["status"]:
        return False
    if old.get("observedGeneration") != new["observedGeneration"]:
        return bool(old["message"] == new["message"])
    return COUNTS.sub("", old["message"]) == COUNTS.sub("", new["message"])


PASSING = ("Telling", "Asking")  # reasons that are over in a moment


class Said(NamedTuple):
    """An Event: a warning, or something normal."""

    type: str
    reason: str
    message: str


def events(before: Object, after: Object) -> Iterator[Said]:
    """What a person should hear of, between two states of one object."""
    for condition in after["conditions"]:
        old = condition_of(before, condition["type"])
        if is_said(old, condition):
            continue
        turned = bool(old) and old["status"] != condition["status"] and condition["reason"] not in PASSING
        refused = condition["type"] in ("Accepted", "Provisioned") and condition["status"] == "False"
        if turned or refused:
            bad = condition["status"] != "True" and condition["type"] != "Draining"
            yield Said("Warning" if bad else "Normal", condition["type"] + condition["reason"], condition["message"])
    was = {slot["slot"]: slot for slot in before.get("status", {}).get("slots", ())}
    for slot in after.get("slots", ()):
        old = was.get(slot["slot"], {})
        if "pod" in slot and has_moved(old, slot):
            before_by = old.get("pod", "nobody")
            message = f"slot {slot['slot']} is served by {slot['pod']} in epoch {slot['epoch']}, before by {before_by}"
            yield Said("Normal", "SlotMoved", message)


def has_moved(old: Object, slot: Object) -> bool:
    """Whether a slot that was served is so by another now; the epoch says it where nobody served it in between."""
    if "pod" in old:
        return bool(old["pod"] != slot["pod"])
    return "epoch" in old and bool(old["epoch"] < slot["epoch"])
