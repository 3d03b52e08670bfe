"""Steps from what there is to what there should be: none when all is well, and the same end from any place."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_objects import IDS, KEY, SETTINGS, configured, pool
from dslite_operator.desired import Wish, desired, render
from dslite_operator.names import CONFIG_HASH, DELETION_COST
from dslite_operator.plan import Annotate, Apply, Delete, PodView, Step, contains, leaving, name_of, plan
from dslite_operator.render import Rendered
from dslite_operator.settings import Settings, StoreSettings

RENDERED = render(KEY, IDS, None, configured(pool()), "", SETTINGS)


def wanted(replicas: int = 2, rendered: Rendered = RENDERED, given: Settings = SETTINGS) -> list[dict[str, Any]]:
    return desired(Wish(KEY, "uid-east", rendered, replicas, "surge", given, False))


def carry_out(found: dict[Any, Any], steps: list[Step]) -> None:
    """What an API server makes of the steps: it adds defaults of its own."""
    for step in steps:
        match step:
            case Apply(body):
                stored = copy.deepcopy(body)
                stored["metadata"]["generation"] = 1
                stored.setdefault("spec", {})["apiServersOwn"] = "x"
                found[name_of(body)] = stored
            case Delete(body):
                del found[name_of(body)]
            case Annotate():
                pass


def test_nothing_is_left_to_do_when_all_is_there() -> None:
    found: dict[Any, Any] = {}
    carry_out(found, plan(wanted(), found, [], "h"))
    assert plan(wanted(), found, [], "h") == []


def test_what_somebody_changed_is_put_right() -> None:
    found: dict[Any, Any] = {}
    carry_out(found, plan(wanted(), found, [], "h"))
    found["Deployment", "east-aftr"]["spec"]["replicas"] = 7
    del found["Service", "east-store"]
    assert names(plan(wanted(), found, [], "h")) == [("Service", "east-store"), ("Deployment", "east-aftr")]


def test_a_store_that_is_elsewhere_now_is_taken_away() -> None:
    found: dict[Any, Any] = {}
    carry_out(found, plan(wanted(), found, [], "h"))
    elsewhere = render(KEY, IDS, RENDERED, configured(pool(store={"secretRef": "redis"})), "", SETTINGS)
    steps = plan(desired(Wish(KEY, "uid-east", elsewhere, 2, "surge", SETTINGS, False)), found, [], "h")
    gone = [name_of(step.object) for step in steps if isinstance(step, Delete)]
    assert gone == [("NetworkPolicy", "east-store"), ("Service", "east-store"), ("StatefulSet", "east-store")]


def test_pods_are_replaced_once_the_store_is() -> None:
    """By another release: those that hand over, and those that come, need it."""
    found: dict[Any, Any] = {}
    carry_out(found, plan(wanted(), found, [], "h"))
    newer = SETTINGS.model_copy(
        update={"release": "0.2.0", "aftr": SETTINGS.aftr.model_copy(update={"image": "aftr:0.2.0"})}
    )
    upgraded = render(KEY, IDS, RENDERED, configured(pool()), "0.2.0", newer)
    wish = desired(Wish(KEY, "uid-east", upgraded, 2, "surge", newer, False))
    stateful = ("StatefulSet", "east-store")
    for generation, ready in ((1, 1), (2, 0)):
        steps = plan(wish, found, [], "h")
        assert ("Deployment", "east-aftr") not in names(steps), "the store is about to be replaced, or not ready yet"
        carry_out(found, steps)
        found[stateful]["status"] = {"observedGeneration": generation, "updatedReplicas": 1, "readyReplicas": ready}
        found[stateful]["metadata"]["generation"] = 2
    found[stateful]["status"]["readyReplicas"] = 1
    assert names(plan(wish, found, [], "h")) == [("Deployment", "east-aftr")]


def names(steps: list[Step]) -> list[tuple[str, str]]:
    return [name_of(step.object) for step in steps if isinstance(step, Apply)]


def test_the_emptiest_pods_go_first_and_are_marked_before() -> None:
    found: dict[Any, Any] = {}
    carry_out(found, plan(wanted(4), found, [], "h"))
    pods = [PodView("a", {CONFIG_HASH: "h"}, 50), PodView("b", {CONFIG_HASH: "h"}, 0), PodView("c", {CONFIG_HASH: "h"})]
    steps = plan(wanted(2), found, pods, "h")
    costs = {step.pod: step.annotations[DELETION_COST] for step in steps if isinstance(step, Annotate)}
    assert costs == {"c": "0", "b": "1", "a": "2"}
    assert isinstance(steps[-1], Apply)
    assert steps[-1].object["kind"] == "Deployment"
    assert not any(isinstance(step, Annotate) for step in plan(wanted(5), found, pods, "h"))


def test_the_pods_that_are_left_are_spread_over_the_nodes() -> None:
    loads = {"a": (9, "n1"), "b": (1, "n1"), "c": (8, "n1"), "d": (2, "n2"), "e": (3, "n3")}
    pods = [PodView(name, {}, load, node) for name, (load, node) in loads.items()]
    assert [pod.name for pod in leaving(pods)] == ["b", "c", "d", "e", "a"]


def test_pods_are_told_of_another_configuration_once() -> None:
    pods = [PodView("a", {CONFIG_HASH: "h"}), PodView("b", {})]
    assert plan([], {}, pods, "h") == [Annotate("b", {CONFIG_HASH: "h"})]


def test_a_store_that_does_not_become_ready_is_replaced_by_the_next_one() -> None:
    """Kubernetes does so for a policy that never changes: a StatefulSet that was made with another keeps it."""
    found: dict[Any, Any] = {}
    carry_out(found, plan(wanted(), found, [], "h"))
    spec = found["StatefulSet", "east-store"]["spec"]
    assert spec["podManagementPolicy"] == "Parallel"
    spec["podManagementPolicy"] = "OrderedReady"
    assert plan(wanted(), found, [], "h") == []
    del spec["podManagementPolicy"]
    assert plan(wanted(), found, [], "h") == []


def test_volumes_of_a_stateful_set_stay() -> None:
    found: dict[Any, Any] = {}
    carry_out(found, plan(wanted(), found, [], "h"))
    found["StatefulSet", "east-store"]["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"][
        "storage"
    ] = "9Gi"
    assert plan(wanted(), found, [], "h") == []


@pytest.mark.parametrize("remade", [False, True])
@pytest.mark.parametrize("upgraded", [False, True])
@pytest.mark.parametrize(("first", "then"), [("", "1Gi"), ("1Gi", "")])
def test_data_has_one_place_whatever_becomes_of_the_chart_value(
    first: str, then: str, upgraded: bool, remade: bool
) -> None:
    """Templates are a release's, claims the StatefulSet's: of one that is deleted, those of today."""
    before, after = (SETTINGS.model_copy(update={"store": StoreSettings(storage=one)}) for one in (first, then))
    found: dict[Any, Any] = {}
    rendered = render(KEY, IDS, None, configured(pool()), "", before)
    carry_out(found, plan(wanted(2, rendered, before), found, [], "h"))
    made = copy.deepcopy(found["StatefulSet", "east-store"]["spec"])
    if upgraded:
        rendered = render(
            KEY, IDS, rendered, configured(pool()), "0.2.0", after.model_copy(update={"release": "0.2.0"})
        )
    if remade:
        del found["StatefulSet", "east-store"]
    carry_out(found, plan(wanted(2, rendered, after), found, [], "h"))
    spec = found["StatefulSet", "east-store"]["spec"]
    claims = [one["metadata"]["name"] for one in spec.get("volumeClaimTemplates", ())]
    volumes = [one["name"] for one in spec["template"]["spec"]["volumes"]]
    assert sorted(claims + volumes) == ["data", "users"]
    assert bool(claims) == bool(then if remade else first)
    assert remade or spec == made, "its pod is not replaced"


def test_what_others_add_does_not_matter_and_what_they_change_does() -> None:
    assert contains({"a": 1, "b": [{"x": 1, "y": 2}]}, {"b": [{"x": 1}]})
    assert not contains({"b": [{"x": 2}]}, {"b": [{"x": 1}]})
    assert not contains({"b": [1, 2]}, {"b": [1]})
    assert contains({}, {"empty": {}, "no": False})
    assert not contains({"a": None}, {"a": {"b": 1}})


@pytest.mark.parametrize(
    ("made", "kept"),
    [("1024Mi", "1Gi"), ("2048Mi", "2Gi"), ("1024Ti", "1Pi"), ("0.5", "500m"), ("0.3333", "334m"), ("1.0", "1")],
)
def test_a_quantity_is_what_it_is_worth_and_other_text_is_text(made: str, kept: str) -> None:
    def resources(quantity: str) -> dict[str, Any]:
        return {"resources": {"requests": {"some": quantity}, "limits": {"some": quantity}}}

    assert contains(resources(kept), resources(made))
    assert not contains(resources(kept), resources("3"))
    assert not contains({"resources": {"requests": {}}}, resources(made))
    assert not contains({"value": kept}, {"value": made})


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), max_size=6))
def test_killed_anywhere_and_begun_again_it_ends_in_the_same_place(course: list[tuple[int, int]]) -> None:
    found: dict[Any, Any] = {}
    for steps, replicas in course:  # each time another wish, carried out only so far
        carry_out(found, plan(wanted(replicas), found, [], "h")[:steps])
    carry_out(found, plan(wanted(3), found, [], "h"))
    assert plan(wanted(3), found, [], "h") == []
    straight: dict[Any, Any] = {}
    carry_out(straight, plan(wanted(3), straight, [], "h"))
    assert found == straight
