"""A changed configuration: applied without losing a session, or refused with every reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aftr.ops.engine import Engine
from aftr.ops.reload import Apply, Refusal, decide, mappings_lost
from contract_objects import NORTH, POOL, documents, full, set_at
from dslite_contract.errors import ConfigurationError
from dslite_contract.load import Configuration, configuration, load_config
from dslite_contract.tables import external_ranges
from rig import config_text, group

RUNNING = full()


def decided(edits: dict[str, str], which: int = POOL, lost: int = 0) -> Apply | Refusal:
    return decide(RUNNING, full(edits, which), lambda old, new: lost)


def refused(edits: dict[str, str], which: int = POOL, lost: int = 0) -> str:
    decision = decided(edits, which, lost)
    assert isinstance(decision, Refusal)
    return "\n".join(decision.sentences)


# ---------------------------------------------------------------- what the classes say
def test_nothing_changed_is_applied_without_a_change() -> None:
    decision = decided({})
    assert isinstance(decision, Apply)
    assert decision.changes == ()


@pytest.mark.parametrize(
    ("edits", "which"),
    [
        ({"spec.softwire.tunnelMtu": "1460"}, POOL),
        ({"spec.nat.timeouts.udpSeconds": "120"}, POOL),
        ({"spec.nat.limits.newSessionsPerSecond": "5"}, POOL),
        ({"spec.nat.pools[1].interface": "internet"}, POOL),
        ({"spec.nat.allowedPrivateDestinations": "[]"}, POOL),
        ({"spec.prefixes[2]": "2001:db8:9000::/48"}, NORTH),
        ({"spec.prefixes": "[2001:db8:1000::/36]"}, NORTH),
    ],
)
def test_live_changes_are_applied(edits: dict[str, str], which: int) -> None:
    decision = decided(edits, which)
    assert isinstance(decision, Apply)
    assert decision.configuration == full(edits, which)


@pytest.mark.parametrize(
    ("edits", "path", "kind"),
    [
        ({"spec.capacity.mappingsPerSlot": "1024"}, "spec.capacity.mappingsPerSlot: 262144 -> 1024", "rolling"),
        ({"spec.softwire.prefix": "2001:db8:65::/64"}, "spec.softwire.prefix", "immutable"),
        ({"spec.nat.pools[0].prefixes[2]": "203.0.113.64/26"}, "prefixes[203.0.113.64/26]: absent", "rolling"),
        ({"spec.nat.pools[0].prefixes": "[192.0.2.0/24]"}, "prefixes[203.0.113.128/25]", "rolling"),
        ({"spec.nat.pools[1].slots": "0-7"}, "spec.nat.pools[business].slots: 0-3 -> 0-7", "rolling"),
        ({"spec.nat.portBlock.size": "512"}, "spec.nat.portBlock.size", "rolling"),
        (
            {
                "spec.nat.bypass[2]": "{b4: '2001:db8:1000:9::/64', address: 203.0.113.11, port: 1, protocol: udp, slot: 3}"
            },
            "spec.nat.bypass[",
            "rolling",
        ),
    ],
)
def test_what_needs_a_restart_is_refused_by_name(edits: dict[str, str], path: str, kind: str) -> None:
    sentence = refused(edits, lost=7)
    assert path in sentence
    assert f"[{kind}]" in sentence
    assert sentence.endswith("7 live mappings would be lost: nothing was changed")


def test_a_bypass_at_an_address_that_is_already_announced_is_live() -> None:
    entry = "{b4: '2001:db8:1000:9::/64', address: 203.0.113.10, port: 5062, protocol: udp, slot: 3}"
    assert isinstance(decided({"spec.nat.bypass[2]": entry}), Apply)


def test_a_drain_change_waits_for_its_mappings() -> None:
    assert isinstance(decided({"spec.natPool": "business"}, NORTH), Apply)
    sentence = refused({"spec.natPool": "business"}, NORTH, lost=1)
    assert "B4Group north: spec.natPool: default -> business [drain]" in sentence
    assert "1 live mapping would be lost" in sentence


def test_a_removed_prefix_with_live_mappings_is_refused() -> None:
    sentence = refused({"spec.prefixes": "[2001:db8:1000::/36]"}, NORTH, lost=12)
    assert "B4Group north: spec.prefixes[2001:db8:8000::/48]" in sentence
    assert "12 live mappings would be lost" in sentence


def test_a_change_is_not_blamed_for_what_a_restart_loses() -> None:
    objects = documents({"spec.capacity.subscribersPerSlot": "64"})
    objects[NORTH]["spec"]["prefixes"].append("2001:db8:9000::/48")
    decision = decide(RUNNING, configuration(objects), lambda old, new: 5)
    assert isinstance(decision, Refusal)
    assert [sentence.split(":")[0] for sentence in decision.sentences] == [
        "AftrPool east", "5 live mappings would be lost",
    ]  # fmt: skip


def test_all_reasons_are_given_at_once() -> None:
    edits = {"spec.capacity.subscribersPerSlot": "64", "spec.slots": "32", "spec.softwire.tunnelMtu": "1460"}
    sentence = refused(edits)
    assert "spec.slots" in sentence
    assert "subscribersPerSlot" in sentence
    assert "tunnelMtu" not in sentence


def test_order_says_nothing_and_an_open_slot_keeps_its_own() -> None:
    objects = documents()
    objects[POOL]["spec"]["nat"]["pools"].reverse()
    objects[POOL]["spec"]["nat"]["pools"][1]["prefixes"].reverse()
    set_at(objects[POOL], "spec.softwire.tunnelMtu", "1460")
    wanted = configuration(objects)
    assert external_ranges(wanted) != external_ranges(RUNNING)
    decision = decide(RUNNING, wanted, lambda old, new: 0)
    assert isinstance(decision, Apply)
    assert external_ranges(decision.configuration) == external_ranges(RUNNING)
    assert [change.path for change in decision.changes] == ["spec.softwire.tunnelMtu"]


def test_a_file_that_is_wrong_in_itself_raises(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text("kind: AftrPool")
    with pytest.raises(ConfigurationError, match="missing"):
        decide(RUNNING, tmp_path / "pool.yaml", lambda old, new: 0)


# ---------------------------------------------------------------- how many mappings
TWO_POOLS = {
    "nat": {
        "pools": [{"name": "default", "prefixes": ["192.0.2.0/28"]}, {"name": "other", "prefixes": ["192.0.2.16/28"]}],
        "preAuthorizedSources": ["100.64.0.0/10"],
    }
}
HOMES = group("homes", ["2001:db8:1000::/40", "2001:db8:2000::/40"])


def wanted(*groups: dict[str, Any], spec: dict[str, Any] | None = None) -> Configuration:
    return load_config(config_text(spec or TWO_POOLS, list(groups)))


def binding(b4: str, inner: str, port: int) -> dict[str, Any]:
    addresses = {"internalAddress": inner, "externalAddress": "192.0.2.1"}
    return {"softwire": b4, "protocol": "udp", "internalPort": port, "externalPort": port, **addresses}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(wanted(HOMES))
    engine.preload(
        [
            binding("2001:db8:1000::1", "10.0.0.1", 2000),
            binding("2001:db8:1000::1", "100.64.0.1", 2001),
            binding("2001:db8:1000:100::1", "10.0.0.1", 3000),
            binding("2001:db8:2000::1", "10.0.0.1", 4000),
        ]
    )
    yield engine
    engine.close()


@pytest.mark.parametrize(
    ("groups", "lost"),
    [
        ([HOMES], 0),
        ([group("homes", ["2001:db8:1000::/40"])], 1),
        ([group("homes", ["2001:db8:2000::/40"])], 3),
        ([group("homes", ["2001:db8:2000::/40"]), group("else", "2001:db8:1000::/40")], 0),
        ([HOMES, group("nested", "2001:db8:1000::/56")], 0),
        ([HOMES, group("nested", "2001:db8:1000::/56", natPool="other")], 2),
        ([HOMES, group("nested", "2001:db8:1000::/56", subscriberMaskV6=64)], 2),
        ([group("homes", ["2001:db8:1000::/40", "2001:db8:2000::/40"], natPool="other")], 4),
    ],
)
def test_mappings_of_b4s_that_would_be_served_otherwise(
    engine: Engine, groups: list[dict[str, Any]], lost: int
) -> None:
    assert mappings_lost(engine.pod, engine.configuration, wanted(*groups)) == lost


def test_mappings_of_sources_that_would_be_refused(engine: Engine) -> None:
    spec = {"nat": TWO_POOLS["nat"] | {"preAuthorizedSources": []}}
    assert mappings_lost(engine.pod, engine.configuration, wanted(HOMES, spec=spec)) == 1


def test_a_restart_loses_all_of_them(engine: Engine) -> None:
    spec = TWO_POOLS | {"capacity": {"mappingsPerSlot": 64}}
    assert mappings_lost(engine.pod, engine.configuration, wanted(HOMES, spec=spec)) == 4


EMBEDDED: dict[str, Any] = {"store": {"embedded": {}}}


def test_with_a_store_a_restart_loses_none_but_what_has_no_address_any_more(engine: Engine) -> None:
    running = wanted(HOMES, spec=TWO_POOLS | EMBEDDED)
    spec = TWO_POOLS | {"capacity": {"mappingsPerSlot": 64}} | EMBEDDED
    assert mappings_lost(engine.pod, running, wanted(HOMES, spec=spec)) == 0
    pools = [{"name": "default", "prefixes": ["192.0.2.32/28"]}, {"name": "other", "prefixes": ["192.0.2.16/28"]}]
    moved = {"nat": TWO_POOLS["nat"] | {"pools": pools}} | EMBEDDED
    assert mappings_lost(engine.pod, running, wanted(HOMES, spec=moved)) == 4
    blocks = {"nat": TWO_POOLS["nat"] | {"portBlock": {"size": 512}}} | EMBEDDED
    assert mappings_lost(engine.pod, running, wanted(HOMES, spec=blocks)) == 4


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ({}, EMBEDDED, 4), (EMBEDDED, {}, 4), (EMBEDDED, {"store": {"secretRef": "redis"}}, 4),
        ({"store": {"secretRef": "redis"}}, {"store": {"secretRef": "other"}}, 4),
        (EMBEDDED, {"store": {"embedded": {}, "durability": "disk"}}, 0), (EMBEDDED, EMBEDDED, 0),
    ],
)  # fmt: skip
def test_another_store_knows_no_mapping(
    engine: Engine, before: dict[str, Any], after: dict[str, Any], lost: int
) -> None:
    running, new = (wanted(HOMES, spec=TWO_POOLS | store) for store in (before, after))
    assert mappings_lost(engine.pod, running, new) == lost


def test_disruption_can_be_allowed() -> None:
    edits = {"spec.natPool": "business"}
    objects = documents(edits, NORTH)
    set_at(objects[POOL], "spec.allowDisruption", "true")
    assert isinstance(decide(RUNNING, configuration(objects), lambda old, new: 3), Apply)


def test_decision_and_count_together(engine: Engine) -> None:
    def count(old: Configuration, new: Configuration) -> int:
        return mappings_lost(engine.pod, old, new)

    moved = wanted(HOMES, group("nested", "2001:db8:1000::/56", natPool="other"))
    decision = decide(engine.configuration, moved, count)
    assert isinstance(decision, Refusal)
    assert decision.sentences[0].startswith("B4Group nested: spec.prefixes[2001:db8:1000::/56]: absent -> ")
    assert decision.sentences[-1].endswith("2 live mappings would be lost: nothing was changed")
    elsewhere = wanted(HOMES, group("nested", "2001:db8:1000:200::/56", natPool="other"))
    assert isinstance(decide(engine.configuration, elsewhere, count), Apply)
