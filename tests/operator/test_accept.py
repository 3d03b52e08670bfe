"""What comes into force: right, free, and ending no live mapping; the rest stays as it was."""

from __future__ import annotations

from typing import Any

import pytest

from cluster_objects import KEY, configured, group, pool
from dslite_contract.load import Configuration
from dslite_contract.schema import AftrPoolSpec
from dslite_operator.accept import Asked, Proposal, propose, scaled, spare, turned_down
from dslite_operator.claims import Claim, Holder, Refused
from dslite_operator.observe import read_asked

HOMES = group("homes", "2001:db8:1000::/36")
SHOPS = group("shops", "2001:db8:5000::/40")


def proposed(running: Configuration | None, *objects: dict[str, Any], refused: Any = None) -> Proposal:
    asked = [read_asked(one) for one in objects]
    return propose(KEY, running, asked[0], asked[1:], refused or {})


def names(proposal: Proposal) -> list[str]:
    assert proposal.configuration is not None
    return [one.metadata.name for one in proposal.configuration.groups]


def test_everything_right_comes_into_force() -> None:
    found = proposed(None, pool(), HOMES, SHOPS)
    assert (found.configuration, found.refusals) == (configured(pool(), HOMES, SHOPS), {})


def test_a_bad_group_stops_no_other() -> None:
    bad = group("shops", "2001:db8:5000::/40", natPool="gold")
    found = proposed(None, pool(), HOMES, bad)
    assert names(found) == ["homes"]
    assert found.refusals == {
        "B4Group shops": ("spec.natPool: gold is not allowed: a NAT pool of the AftrPool (default)",)
    }


def test_a_group_that_turns_bad_stays_as_it_was() -> None:
    running = configured(pool(), HOMES, SHOPS)
    found = proposed(running, pool(), HOMES, group("shops", "10.0.0.0/8"))
    assert found.configuration == running
    assert "B4Group shops" in found.refusals


NORTH, SOUTH = "2001:db8:1000::/36", "2001:db8:2000::/36"


@pytest.mark.parametrize(
    "groups",
    [
        [group("homes", NORTH), group("south", SOUTH)],
        [group("flats", SOUTH), group("homes", NORTH)],
        [group("all", NORTH, prefixes=[NORTH, SOUTH])],
    ],
)
def test_a_group_is_divided_and_gets_another_name(groups: list[dict[str, Any]]) -> None:
    found = proposed(configured(pool(), group("homes", NORTH, prefixes=[NORTH, SOUTH])), pool(), *groups)
    assert (names(found), found.refusals) == ([one["metadata"]["name"] for one in groups], {})


@pytest.mark.parametrize("other", ["flats", "south"])
def test_a_group_that_stays_keeps_what_it_would_have_let_go_of(other: str) -> None:
    """Whatever the other one's name: it takes nothing from a group that may not become what it asks for."""
    running = configured(pool(), group("homes", NORTH, prefixes=[NORTH, SOUTH]))
    found = proposed(running, pool(), group("homes", NORTH, natPool="gold"), group(other, SOUTH))
    assert found.configuration == running
    assert found.refusals.keys() == {"B4Group homes", f"B4Group {other}"}
    assert "it equals spec.prefixes[1] of B4Group homes" in found.refusals[f"B4Group {other}"][0]


def test_a_pool_that_turns_bad_stays_and_its_groups_go_on() -> None:
    running = configured(pool(), HOMES)
    found = proposed(running, pool(slots=3), HOMES, SHOPS)
    assert found.configuration is not None
    assert found.configuration.pool == running.pool
    assert names(found) == ["homes", "shops"]
    assert found.refusals["AftrPool east"][0].startswith("spec.slots: 3 is not allowed")


def test_a_new_pool_that_is_bad_comes_not_at_all() -> None:
    found = proposed(None, pool(slots=3), HOMES)
    assert found.configuration is None
    assert list(found.refusals) == ["AftrPool east"]


def test_kubernetes_wants_interfaces() -> None:
    found = proposed(None, pool(interfaces=[]))
    assert found.refusals["AftrPool east"][0].startswith("spec.interfaces: missing")


def test_a_pod_has_one_interface_of_its_own() -> None:
    two = [{"name": name, "side": side, "podNetwork": {}} for name, side in (("a", "access"), ("b", "internet"))]
    (line,) = proposed(None, pool(interfaces=two)).refusals["AftrPool east"]
    assert line == "spec.interfaces[1]: podNetwork is spec.interfaces[0] already: a pod has one interface of its own"


def test_immutable_fields_never_change_whatever_let_them_pass() -> None:
    running = configured(pool())
    found = proposed(running, pool(slots=8))
    assert found.refusals == {"AftrPool east": ("spec.slots: it never changes: make a new object",)}
    assert found.configuration == running


def test_what_others_hold_is_refused() -> None:
    claim = Claim("b4s", "2001:db8:5000::/40", "spec.prefixes[0]")
    refused = {Holder("B4Group", "edge", "shops"): (Refused(claim, claim, Holder("B4Group", "core", "x")),)}
    found = proposed(None, pool(), HOMES, SHOPS, refused=refused)
    assert names(found) == ["homes"]
    assert "it is held by B4Group core/x" in found.refusals["B4Group shops"][0]


def test_equal_prefixes_in_one_pool_are_the_first_groups() -> None:
    found = proposed(None, pool(), HOMES, group("more", "2001:db8:1000::/36"))
    assert names(found) == ["homes"]
    assert "it equals spec.prefixes[0] of B4Group homes" in found.refusals["B4Group more"][0]


def test_asked_without_a_model_carries_its_reasons() -> None:
    found = propose(KEY, None, Asked("east", None, ("spec: missing",)), [], {})
    assert found == Proposal(None, {"AftrPool east": ("spec: missing",)})


def test_what_is_turned_down_changes_nothing_and_who_wanted_it_says_so() -> None:
    running, wanted = configured(pool(), HOMES), configured(pool(), HOMES, SHOPS)
    proposal = Proposal(wanted, {"B4Group shops": ("spec.x: no",)}, ("B4Group offices was deleted",))
    refusals = {"B4Group shops": ("spec.x: no", "too long")}
    assert turned_down(running, proposal, wanted, "too long") == Proposal(running, refusals, proposal.kept)
    new = turned_down(None, Proposal(wanted), wanted, "too long")
    assert new == Proposal(None, {"AftrPool east": ("too long",)})


def test_a_pool_that_is_refused_has_as_many_pods_as_it_asks_for_if_what_runs_allows_that() -> None:
    def asked(**spec: Any) -> AftrPoolSpec | None:
        return scaled(running, configured(pool(**spec)).pool)

    running = configured(pool()).pool
    bounds = {"minReplicas": 1, "maxReplicas": 3}
    found = asked(replicas=3, autoscaling=bounds, slots=8)
    assert found is not None
    assert (found.replicas, found.slots) == (3, 4)
    assert found.autoscaling is not None
    assert found.autoscaling.max_replicas == 3
    assert asked(replicas=6, slots=8) is None, "four slots are served by four pods at most"
    running = configured(pool(replicas=1, store=None)).pool
    assert asked(replicas=3) is None, "they have no store to share"


# ---------------------------------------------------------------- live mappings
def test_no_mapping_is_lost_unless_allowed() -> None:
    running = configured(pool(), HOMES, SHOPS)
    fewer = proposed(running, pool(), HOMES, group("shops", "2001:db8:6000::/40"))
    held = spare(running, fewer, 12)
    assert held.configuration == running
    assert held.refusals["B4Group shops"] == (
        "spec.prefixes[2001:db8:5000::/40]: it would end 12 live mappings: wait, or set allowDisruption",
        "spec.prefixes[2001:db8:6000::/40]: it would end 12 live mappings: wait, or set allowDisruption",
    )
    assert spare(running, fewer, 0) == fewer
    allowed = proposed(running, pool(allowDisruption=True), HOMES, group("shops", "2001:db8:6000::/40"))
    assert spare(running, allowed, 12) == allowed


def test_a_deleted_group_is_served_until_its_mappings_have_ended() -> None:
    running = configured(pool(), HOMES, SHOPS)
    held = spare(running, proposed(running, pool(), HOMES), 1)
    assert names(held) == ["homes", "shops"]
    assert held.kept == ("B4Group shops was deleted, it would end 1 live mapping",)
    assert held.refusals == {}


def test_other_changes_go_on_meanwhile() -> None:
    running = configured(pool(), HOMES, SHOPS)
    tunnel = {**pool()["spec"]["softwire"], "tunnelMtu": 1400}
    held = spare(running, proposed(running, pool(softwire=tunnel), HOMES), 5)
    assert held.configuration is not None
    assert held.configuration.pool.spec.softwire.tunnel_mtu == 1400
    assert names(held) == ["homes", "shops"]


def test_when_nobody_can_say_only_harmless_changes_are_made() -> None:
    running = configured(pool(), HOMES)
    tunnel = {**pool()["spec"]["softwire"], "tunnelMtu": 1400}
    live = proposed(running, pool(softwire=tunnel), HOMES)
    why = "no AFTR that answers serves slots 0-3, so nobody knows how many mappings it would end"
    assert spare(running, live, why) == live
    held = spare(running, proposed(running, pool(), group("homes", "2001:db8:7000::/40")), why)
    assert held.refusals["B4Group homes"][0].endswith(f": {why}: wait, or set allowDisruption")
    assert spare(running, proposed(running, pool()), why).kept == (f"B4Group homes was deleted, {why}",)


def test_shrinking_a_nat_pool_in_use_is_refused_with_the_number() -> None:
    two = {"pools": [{"name": "default", "prefixes": ["20.0.0.0/24", "20.1.0.0/24"]}]}
    running = configured(pool(nat=two))
    held = spare(running, proposed(running, pool()), 7)
    assert held.refusals["AftrPool east"] == (
        "spec.nat.pools[default].prefixes[20.1.0.0/24]: it would end 7 live mappings: wait, or set allowDisruption",
    )
    assert held.configuration == running


@pytest.mark.parametrize(("lost", "said"), [(9, "it would end 9 live mappings"), ("nobody says", "nobody says")])
def test_another_store_is_refused_while_there_are_mappings(lost: int | str, said: str) -> None:
    running = configured(pool(), HOMES)
    moved = proposed(running, pool(store={"secretRef": "redis"}), HOMES)
    held = spare(running, moved, lost)
    assert held.configuration == running
    lines = held.refusals["AftrPool east"]
    assert [line.split(":")[0] for line in lines] == ["spec.store.embedded", "spec.store.secretRef"]
    assert all(said in line for line in lines)
    assert spare(running, moved, 0) == moved
