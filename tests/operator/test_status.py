"""Conditions, numbers and events: sentences from the pods."""

from __future__ import annotations

from typing import Any

import pytest

from cluster_objects import IDS, KEY, SETTINGS, configured, group, pod, pool, report
from dslite_contract.crd import crds
from dslite_operator.desired import render
from dslite_operator.status import (
    Facts,
    Report,
    Told,
    Verdict,
    condition_of,
    conditions,
    events,
    ever_served,
    group_status,
    pool_status,
    ranges,
    troubled,
    unserved,
    verdicts,
    without_numbers,
)

RENDERED = render(KEY, IDS, None, configured(pool(), group("homes", "2001:db8:1000::/36")), "", SETTINGS)
HASH = RENDERED.config_hash
NOW = "2026-01-01T00:00:00Z"


def facts(*reports: Report, **changed: Any) -> Facts:
    given: dict[str, Any] = {
        "key": KEY, "generation": 3, "wanted": 2, "rendered": RENDERED, "refusals": {}, "reports": reports, "release": "0.1.0",
    }  # fmt: skip
    return Facts(**given | changed)


def verdict(what: str, given: Facts) -> Verdict:
    return next(one for one in verdicts(given) if one.type == what)


BOTH = (report("a", {0: 10, 1: 5}, config_hash=HASH), report("b", {2: 0, 3: 7}, config_hash=HASH))


def test_all_is_well() -> None:
    found = {one.type: one.status for one in verdicts(facts(*BOTH))}
    assert found == {
        "Accepted": "True", "Ready": "True", "Advertised": "True", "StoreReachable": "True", "CapacityAvailable": "True",
        "Draining": "False",
    }  # fmt: skip


def test_refusals_stand_word_by_word() -> None:
    lines = {"AftrPool east": ("spec.slots: 3 is not allowed", "spec.x: y")}
    found = verdict("Accepted", facts(*BOTH, refusals=lines))
    assert found == (
        "Accepted", "False", "Refused", "spec.slots: 3 is not allowed; spec.x: y; what was accepted before stays in force",
    )  # fmt: skip
    new = verdict("Accepted", facts(rendered=None, refusals=lines))
    assert new.message == "spec.slots: 3 is not allowed; spec.x: y"


def test_a_release_that_this_operator_has_not() -> None:
    found = verdict("Accepted", facts(*BOTH, release="9.9"))
    assert (found.reason, found.message) == (
        "OtherRelease", "release 9.9 is not this operator's: pods keep the template of 0.1.0",
    )  # fmt: skip


def test_ready_says_what_pods_lack_in_their_own_words() -> None:
    lacking = report("b", {2: 0, 3: 0}, ready=False, missing=["interface uplink is down"], config_hash="old")
    silent = report("c", None)
    found = verdict("Ready", facts(BOTH[0], lacking, silent, wanted=3))
    assert (found.status, found.message) == (
        "False",
        "2 of 3 pods are ready; b: interface uplink is down; b runs configuration old; c does not answer on its status port",
    )
    refusing = report("a", {0: 1}, config={"hash": "old", "lastError": "spec.slots: no"})
    assert "a refuses the configuration: spec.slots: no" in verdict("Ready", facts(refusing)).message


def test_slots_that_nobody_serves() -> None:
    assert verdict("Advertised", facts(BOTH[0])).message == "no pod serves slots 2-3"
    assert ranges([0, 1, 2, 5]) == "0-2, 5"


def test_sessions_that_are_down() -> None:
    peers = [{"name": "tor", "interface": "uplink", "address": "198.18.0.1", "asn": 1, "families": ["ipv4"]}]
    routed = render(
        KEY, IDS, None, configured(pool(routing={"bgp": {"localAsn": 64512, "peers": peers}})), "", SETTINGS
    )
    one = report("a", {0: 0, 1: 0, 2: 0, 3: 0}, routing={"tor": "Active"})
    assert verdict("Advertised", facts(one, rendered=routed)).message == "a: session tor is Active"
    up = report("a", {0: 0, 1: 0, 2: 0, 3: 0}, routing={"tor": "Established"})
    assert verdict("Advertised", facts(up, rendered=routed)).status == "True"


def test_a_store_out_of_reach_in_the_pods_words() -> None:
    lost = report("b", {2: 0}, store={"reachable": False, "trouble": "store redis:6379: refused"})
    found = verdict("StoreReachable", facts(BOTH[0], lost))
    assert (found.status, found.message) == ("False", "b: store redis:6379: refused")
    assert verdict("StoreReachable", facts()).status == "Unknown"


def test_a_store_that_does_not_start_is_named_with_what_it_waits_for() -> None:
    lost = report("b", {2: 0}, store={"reachable": False, "trouble": "store redis:6379: refused"})
    waiting = pod("east-store-0", ready=False)
    waiting["status"]["containerStatuses"] = [
        {"state": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "aftr:0.3"'}}}
    ]
    why = 'east-store-0: ImagePullBackOff: Back-off pulling image "aftr:0.3"'
    found = verdict("StoreReachable", facts(lost, stores=(waiting,)))
    assert (found.status, found.message) == ("False", f"{why}; b: store redis:6379: refused")
    assert verdict("StoreReachable", facts(stores=(waiting,))).message.endswith(f"the store; {why}")
    assert "Insufficient" in verdict("StoreReachable", facts(lost, stores=(pod("s", scheduled=False),))).message
    assert verdict("StoreReachable", facts(*BOTH, stores=(waiting,))).status == "True"
    assert (
        verdict("StoreReachable", facts(lost, stores=(pod("east-store-0"),))).message == "b: store redis:6379: refused"
    )


def test_no_room_in_the_cluster_is_a_condition() -> None:
    waiting = Report(pod("c", ready=False, scheduled=False), None)
    found = verdict("CapacityAvailable", facts(*BOTH, waiting))
    assert found.message == "c: 0/2 nodes are available: 2 Insufficient example.com/vf."
    del waiting.pod["status"]["conditions"][1]["message"]
    found = verdict("CapacityAvailable", facts(waiting, stores=(waiting.pod,)))
    assert found.message == "c: it has no node"


def test_numbers_and_slots() -> None:
    status = pool_status(facts(*BOTH), pool(), NOW)
    assert (status["replicas"], status["readyReplicas"], status["wantedReplicas"]) == (2, 2, 2)
    assert (status["mappings"], status["subscribers"], status["portUtilizationPercent"]) == (22, 4, 25)
    assert status["slots"][3] == {
        "slot": 3, "address": "2001:db8:6400::4", "fqdn": "s3.east.aftr.example.net", "prefixes": ["20.0.0.192/26"],
        "pod": "b", "epoch": 3, "subscribers": 1, "mappings": 7, "portUtilizationPercent": 25,
    }  # fmt: skip
    assert status["selector"] == "app.kubernetes.io/component=aftr,dslite.dev/pool=east"
    assert status["natPools"][0]["subscribersAtMostBlocks"] == 256 * 252 // 8


def test_of_two_that_claim_a_slot_the_newer_owner_counts() -> None:
    old, new = report("a", {0: 1}), report("b", {0: 2})
    assert new.said is not None
    new.said["slots"][0]["epoch"] = 9
    status = pool_status(facts(old, new), pool(), NOW)
    assert (status["slots"][0]["pod"], status["slots"][0]["epoch"]) == ("b", 9)


def test_a_slot_that_nobody_serves_any_more_is_known_to_have_been_served() -> None:
    """The store may have its mappings."""
    assert ever_served(pool()) == ever_served({"status": pool_status(facts(), pool(), NOW)}) == []
    first = {"status": pool_status(facts(BOTH[0]), pool(), NOW)}
    second = {"status": pool_status(facts(), first, NOW)}
    assert ever_served(first) == ever_served(second) == unserved(ever_served(second), [BOTH[1]]) == [0, 1]
    assert unserved(ever_served(second), BOTH) == []
    assert "pod" not in second["status"]["slots"][0]


def test_the_status_is_what_the_definition_allows() -> None:
    root = crds()["aftrpool.yaml"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    status = pool_status(facts(*BOTH), pool(), NOW)
    assert set(status) <= set(root["properties"])
    assert all(set(slot) <= set(root["properties"]["slots"]["items"]["properties"]) for slot in status["slots"])


def test_a_condition_keeps_its_time_until_it_turns() -> None:
    before = {"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "then"}]}}
    (same,) = conditions([Verdict("Ready", "True", "x", "y")], before, 4, NOW)
    assert (same["lastTransitionTime"], same["observedGeneration"]) == ("then", 4)
    (turned,) = conditions([Verdict("Ready", "False", "x", "y")], before, 4, NOW)
    assert turned["lastTransitionTime"] == NOW


def test_messages_fit_the_definition() -> None:
    (long,) = conditions([Verdict("Ready", "True", "x", "y" * 5000)], {}, 1, NOW)
    assert len(long["message"]) == 4096


def test_groups_have_their_own_verdict() -> None:
    homes = group("homes", "2001:db8:1000::/36")
    good = group_status(facts(), homes, NOW)
    assert good["conditions"][0]["message"] == f"configuration {HASH} is in force"
    bad = group_status(facts(refusals={"B4Group homes": ("spec.natPool: no",)}), homes, NOW)
    assert bad["conditions"][0]["status"] == "False"


def test_what_keeps_us_from_going_on_is_said_and_the_rest_is_as_it_was() -> None:
    before = pool_status(facts(*BOTH), pool(), NOW)
    found = troubled({**pool(), "status": before}, "ConfigMap east-aftr: no", NOW)
    assert (found["conditions"][0]["type"], found["conditions"][0]["status"]) == ("Accepted", "Unknown")
    assert {**found, "conditions": found["conditions"][1:]} == {**before, "conditions": before["conditions"][1:]}
    assert said(before, found) == ["Warning AcceptedTrouble: ConfigMap east-aftr: no"]
    assert troubled({**pool(), "status": found}, "ConfigMap east-aftr: no", "later") == found
    assert troubled(pool(), "no", NOW).keys() == {"conditions"}


# ---------------------------------------------------------------- events
def said(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [f"{one.type} {one.reason}: {one.message}" for one in events({**pool(), "status": before}, after)]


def test_events_on_what_turned_on_refusals_and_on_takeovers() -> None:
    first = pool_status(facts(*BOTH), pool(), NOW)
    assert said({}, first) == []
    assert said(first, first) == []
    dead = pool_status(
        facts(report("b", {0: 10, 1: 5, 2: 0, 3: 7}, config_hash=HASH)), {**pool(), "status": first}, NOW
    )
    assert said(first, dead) == [
        "Warning ReadyPodsMissing: 1 of 2 pods are ready",
        "Normal SlotMoved: slot 0 is served by b in epoch 3, before by a",
        "Normal SlotMoved: slot 1 is served by b in epoch 3, before by a",
    ]
    refused = pool_status(facts(*BOTH, refusals={"AftrPool east": ("spec.x: no",)}), {**pool(), "status": first}, NOW)
    assert said(first, refused)[0].startswith("Warning AcceptedRefused: spec.x: no")


@pytest.mark.parametrize(("epoch", "events"), [(3, 0), (4, 1)])
def test_a_takeover_with_a_look_in_between_is_one_too(epoch: int, events: int) -> None:
    """A look that found nobody: a pod was killed, or did not answer once."""
    first = pool_status(facts(BOTH[0]), pool(), NOW)
    gap = pool_status(facts(), {**pool(), "status": first}, NOW)
    after = report("c", {0: 10}, config_hash=HASH)
    assert after.said is not None
    after.said["slots"][0]["epoch"] = epoch
    moved = [one for one in said(gap, pool_status(facts(after), {**pool(), "status": gap}, NOW)) if "SlotMoved" in one]
    assert moved == ["Normal SlotMoved: slot 0 is served by c in epoch 4, before by nobody"] * events


def test_a_refusal_that_counts_is_said_once_for_each_thing_that_was_asked_for() -> None:
    def refused(sentence: str, generation: int = 3) -> dict[str, Any]:
        lines = {"AftrPool east": (sentence,)}
        return pool_status(facts(*BOTH, refusals=lines, generation=generation), pool(), NOW)

    twelve, eleven = (refused(f"spec.nat: it would end {number} live mappings") for number in (12, 11))
    assert said(twelve, eleven) == []
    assert twelve != eleven
    assert without_numbers(twelve) == without_numbers(eleven)
    three, five = refused("spec.slots: 3 is not allowed"), refused("spec.slots: 5 is not allowed", generation=4)
    assert said(three, five)[0].startswith("Warning AcceptedRefused: spec.slots: 5 is not allowed")
    assert without_numbers(three) != without_numbers(five)
    assert said(three, refused("spec.slots: 3 is not allowed", generation=4)) == []
    before_there_were_generations = [
        {name: value for name, value in one.items() if name != "observedGeneration"} for one in three["conditions"]
    ]
    assert said({**three, "conditions": before_there_were_generations}, three) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("there is no subnet 2001:db8:42::/64: add it to Kea", "there is no subnet 2001:db8:43::/64: add it to Kea"),
        ("Kea at http://198.18.0.1:8000/ does not answer", "Kea at http://198.18.0.2:8000/ does not answer"),
        ("nobody is told yet: s0.east must resolve", "nobody is told yet: s1.east must resolve"),
        ("bucket map 12ab", "bucket map 34ab"),
        ("pod aftr-0", "pod aftr-1"),
    ],
)
def test_another_name_or_address_is_another_refusal(old: str, new: str) -> None:
    def refused(sentence: str) -> dict[str, Any]:
        told = Told((Verdict("Provisioned", "False", "Refused", sentence),))
        return group_status(facts(), group("homes", "2001:db8:1000::/36"), NOW, told)

    assert said(refused(old), refused(new)) == [f"Warning ProvisionedRefused: {new}"]
    assert without_numbers(refused(old)) != without_numbers(refused(new))
    counts = [refused(f"{many} B4s ({many}) are there, {many}: {many}.") for many in ("1", "12,345")]
    assert said(*counts) == []
    assert without_numbers(counts[0]) == without_numbers(counts[1])


def test_what_is_over_in_a_moment_is_no_event() -> None:
    def saying(status: str, reason: str) -> dict[str, Any]:
        told = Told((Verdict("Provisioned", status, reason, reason.lower()),))
        return group_status(facts(), group("homes", "2001:db8:1000::/36"), NOW, told)

    before, telling, after = saying("True", "Told"), saying("Unknown", "Telling"), saying("False", "Refused")
    assert said(before, telling) == []
    assert said(telling, before) == ["Normal ProvisionedTold: told"]
    assert said(telling, after) == ["Warning ProvisionedRefused: refused"]


def test_what_is_said_of_a_group_stays_until_anybody_knows() -> None:
    """An operator that begins has asked no server yet."""
    homes = group("homes", "2001:db8:1000::/36")
    told = Told((Verdict("Provisioned", "True", "Told", "told"),), {"strays": 3})
    before = group_status(facts(), homes, NOW, told)
    refused = facts(refusals={"B4Group homes": ("spec.natPool: no",)})
    after = group_status(refused, {**homes, "status": before}, NOW, None)
    assert condition_of({"status": after}, "Accepted")["reason"] == "Refused"
    assert after == {**before, "conditions": [after["conditions"][0], before["conditions"][1]]}
    assert group_status(facts(), homes, NOW, None)["conditions"] == before["conditions"][:1]


def test_mere_numbers_of_a_group_are_not_worth_a_write() -> None:
    one, two = ({"slots": [{"slot": 0, "told": n, "sessions": n, "softwires": n}], "strays": n} for n in (1, 2))
    assert without_numbers(one) == without_numbers(two) == {"slots": [{"slot": 0}], "conditions": []}


def test_mere_numbers_are_not_worth_a_write() -> None:
    one, two = (pool_status(facts(report("a", {0: n}, config_hash=HASH)), pool(), NOW) for n in (1, 2))
    assert one != two
    assert without_numbers(one) == without_numbers(two)
