"""What the schema and its rules refuse, with the exact message.  A test finds a bad input for every leaf of the schema."""

from __future__ import annotations

import re

import pytest

from contract_objects import FULL, NORTH, POOL, SMALL, SOUTH, documents, yaml_value
from contract_refusals import GROUP_VALUES, POOL_VALUES, SEVERAL
from dslite_contract.errors import ConfigurationError, DsliteError, Problem
from dslite_contract.fields import leaves
from dslite_contract.load import configuration, load_config
from dslite_contract.schema import AftrPool, B4Group


def lines_of(objects: list[object]) -> list[str]:
    """The messages with which these objects are refused."""
    with pytest.raises(ConfigurationError) as refusal:
        configuration(objects)
    assert str(refusal.value).splitlines() == [str(problem) for problem in refusal.value.problems]
    return [str(problem) for problem in refusal.value.problems]


@pytest.mark.parametrize(("path", "value", "said"), POOL_VALUES)
def test_pool_value_refused(path: str, value: str, said: str) -> None:
    found = lines_of(documents({path: value}))
    owner = "AftrPool east" if path != "metadata.name" else found[0].partition(":")[0]
    assert found[0] == f"{owner}: {path}: {said}"
    assert len(found) == 1 or path == "metadata.name"


@pytest.mark.parametrize(("path", "value", "said"), GROUP_VALUES)
def test_group_value_refused(path: str, value: str, said: str) -> None:
    owner = "B4Group north" if path != "metadata.name" else f"B4Group {value}"
    assert lines_of(documents({path: value}, NORTH)) == [f"{owner}: {path}: {said}"]


@pytest.mark.parametrize(("which", "edits", "lines"), SEVERAL)
def test_several_refused(which: int, edits: dict[str, str], lines: list[str]) -> None:
    assert lines_of(documents(edits, which)) == lines


@pytest.mark.parametrize(
    "match", ["", ", match: {relayInterfaceId: dslam-77}", ", match: {relayInterfaceId: 'dslam*'}"]
)
def test_clients_of_one_subnet_belong_to_one_group(match: str) -> None:
    objects = documents()
    dhcp = "dhcp: {server: metro, subnets: ['2001:db8:2000::/48', '2001:db8:1000::/48']}"
    objects[SOUTH]["spec"] |= yaml_value(f"{{{dhcp}{match}}}")
    assert lines_of(objects) == [
        (
            "B4Group south: spec.dhcp.subnets[1]: 2001:db8:1000::/48 is not allowed: it is B4Group north's: give both a "
            "spec.match that tells their clients apart"
        )
    ]


def test_every_leaf_has_a_refusal() -> None:
    for model, table in ((AftrPool, POOL_VALUES), (B4Group, GROUP_VALUES)):
        tried = {re.sub(r"\[\d+\]", "[]", path) for path, _, _ in table}
        known = {path for path, _ in leaves(model)} - {"kind"}  # kind: see SEVERAL
        assert known <= tried | {path.removesuffix("[]") for path in tried}


def test_pool_is_needed_once() -> None:
    one = documents()
    assert lines_of([]) == ["0 AftrPools given: exactly one is needed"]
    assert lines_of([one[POOL], *one]) == ["2 AftrPools given: exactly one is needed"]
    assert lines_of(["east", one[POOL]]) == ["document 1: east is not allowed: an AftrPool or a B4Group"]


def test_ignored_fields_are_dropped_unread() -> None:
    objects = documents({"spec.interfaces": "nonsense", "spec.routing": "1", "spec.store": "[]"})
    pool = configuration(objects, ignore=("interfaces", "routing", "store")).pool
    assert pool.spec.interfaces == ()
    assert objects == documents({"spec.interfaces": "nonsense", "spec.routing": "1", "spec.store": "[]"})
    assert lines_of([*objects]) == [
        "AftrPool east: spec.interfaces: nonsense is not allowed: a list",
        "AftrPool east: spec.routing: 1 is not allowed: a mapping with bgp, layer2",
        (
            "AftrPool east: spec.store: a list is not allowed: a mapping with embedded, secretRef, durability, waitReplicas, "
            "onLoss, adopt"
        ),
    ]


def test_several_replicas_say_nothing_to_whoever_ignores_the_store() -> None:
    objects = documents({"spec.replicas": "3"})
    assert configuration(objects).pool.spec.replicas == 3
    assert configuration(objects, ignore=("store",)).pool.spec.replicas == 1


def test_all_problems_of_all_objects_at_once() -> None:
    text = FULL.replace("slots: 16", "slots: 5").replace("natPool: business", "natpool: business")
    with pytest.raises(DsliteError) as refusal:
        load_config(text)
    assert str(refusal.value).splitlines() == [
        "AftrPool east: spec.slots: 5 is not allowed: a power of two from 1 to 1024",
        "B4Group south: spec.natpool: unknown field (did you mean natPool?)",
    ]


def test_problem_names_its_object_only_in_text() -> None:
    problem = Problem("AftrPool east", "spec.slots", "5 is not allowed")
    assert problem.line == "spec.slots: 5 is not allowed"
    assert str(problem) == "AftrPool east: spec.slots: 5 is not allowed"


def test_default_pool_must_exist_for_a_group_without_nat_pool() -> None:
    group = "---\napiVersion: dslite.dev/v1alpha1\nkind: B4Group\nmetadata: {name: g}\n"
    group += "spec: {poolRef: {name: east}, prefixes: [2001:db8:1::/48]}"
    load_config(SMALL + group)
    with pytest.raises(ConfigurationError, match=r"^B4Group g: spec.natPool: default is not allowed: .*\(gold\)$"):
        load_config(SMALL.replace("name: default", "name: gold") + group)
