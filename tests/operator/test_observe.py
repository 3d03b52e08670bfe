"""The cache: newest versions, ends that come early, what belongs to a pool, and when claims are judged anew."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from typing import Any

import pytest

from cluster_objects import IDS, KEY, SETTINGS, configured, group, pod, pool
from dslite_operator.claims import Holder
from dslite_operator.desired import Wish, config_map, finished, render
from dslite_operator.names import Key
from dslite_operator.observe import Cache
from dslite_operator.render import RenderedError

PREFIX = "2001:db8:1000::/36"


def newer(body: dict[str, Any], **changed: Any) -> dict[str, Any]:
    made = copy.deepcopy(body) | changed
    made["metadata"]["resourceVersion"] = str(int(body["metadata"]["resourceVersion"]) + 1000)
    return made


def stored(uid: str = "uid-AftrPool-edge-east", name: str = "east", prefix: str = PREFIX) -> dict[str, Any]:
    rendered = render(KEY, IDS, None, configured(pool(name), group("homes", prefix, name)), "", SETTINGS)
    wish = Wish(Key("edge", name), uid, rendered, 1, "surge", SETTINGS, False)
    made = finished(wish, config_map(wish))
    made["metadata"] |= {"uid": f"uid-cm-{name}", "resourceVersion": "1"}
    return made


def test_an_older_version_changes_nothing() -> None:
    cache, body = Cache(), pool()
    assert cache.put(newer(body, status={"x": 1}))
    assert not cache.put(body)
    view = cache.view(KEY)
    assert view.pool is not None
    assert view.pool["status"] == {"x": 1}


def test_news_of_what_is_gone_come_too_late() -> None:
    cache, body = Cache(), pool()
    cache.put(body)
    cache.drop(newer(body))  # its end has a version too
    assert not cache.put(body)
    assert cache.view(KEY).pool is None
    assert cache.saw_the_end_of(body)


def test_what_has_our_label_again_is_ours_again() -> None:
    """A watch tells of an object that lost it as though it were deleted; such news may come after we put it back."""
    cache, body = Cache(), pod("a")
    cache.put(body)
    lost = newer(body)
    cache.drop(lost)
    assert cache.view(KEY).pods == ()
    assert not cache.put(lost)
    repaired = newer(lost)
    assert cache.put(repaired)
    cache.drop(lost)
    assert cache.view(KEY).pods == (repaired,)
    assert not cache.saw_the_end_of(repaired)


def test_the_end_of_an_earlier_object_of_that_name_is_not_its_end() -> None:
    cache, first = Cache(), pool()
    second = newer(first)
    second["metadata"]["uid"] = "another"
    cache.put(first)
    cache.put(second)
    cache.drop(first)
    assert cache.view(KEY).pool == second


def test_late_news_of_an_earlier_object_of_that_name_are_not_news_of_it() -> None:
    cache, first = Cache(), pool()
    late = newer(first)
    second = newer(late)
    second["metadata"]["uid"] = "another"
    assert cache.put(second)
    assert not cache.put(late)
    assert cache.view(KEY).pool == second


def test_one_that_is_made_anew_under_its_name_is_judged() -> None:
    """`kubectl replace --force`: seen before the end of the first, or that was missed; both have generation 1."""
    cache, first = Cache(), group("homes", "2001:db8:1000::/36")
    cache.put(first)
    before = cache.revision
    second = newer(group("homes", "2001:db8:2000::/36"))
    second["metadata"]["uid"] = "another"
    cache.put(second)
    assert cache.revision == before + 1
    cache.drop(first)
    assert [str(claim.value) for one in cache.wanted() for claim in one.claims] == ["2001:db8:2000::/36"]


def test_what_belongs_to_a_pool() -> None:
    cache = Cache()
    for one in (
        pool(),
        group("homes", "2001:db8:1000::/36"),
        group("other", "2001:db8::/48", "west"),
        pod("a"),
        stored(),
    ):
        cache.put(one)
    view = cache.view(KEY)
    assert [one["metadata"]["name"] for one in view.groups] == ["homes"]
    assert [one["metadata"]["name"] for one in view.pods] == ["a"]
    assert view.config_map is not None
    assert cache.pools() == {KEY}
    assert [one["metadata"]["name"] for one in cache.view(Key("edge", "west")).groups] == ["other"]


def test_children_of_an_earlier_pool_are_not_ours() -> None:
    cache = Cache()
    cache.put(pool())
    cache.put(stored("another"))
    assert cache.view(KEY).config_map is None
    assert cache.view(KEY).earlier == (("ConfigMap", "east-aftr"),)
    cache.put(newer(stored()))
    assert cache.view(KEY).earlier == ()


def test_a_group_that_moves_to_another_pool_leaves_the_first() -> None:
    cache, body = Cache(), group("homes", "2001:db8:1000::/36")
    cache.put(body)
    cache.put(newer(body, spec={**body["spec"], "poolRef": {"name": "west"}}))
    assert cache.view(KEY).groups == ()
    assert len(cache.view(Key("edge", "west")).groups) == 1


def test_claims_stand_in_config_maps_and_in_right_objects() -> None:
    cache = Cache()
    for one in (pool(), pool("bad", slots=3), stored()):
        cache.put(one)
    assert set(cache.accepted()) == {Holder("AftrPool", "edge", "east"), Holder("B4Group", "edge", "homes")}
    assert [(one.holder.name, one.wrong) for one in cache.wanted()] == [("east", False), ("bad", True)]


@pytest.mark.parametrize("order", [1, -1])
def test_a_group_in_force_in_two_pools_holds_what_it_has_in_both(order: int) -> None:
    """It went to another pool, and the first serves it until its mappings have ended."""
    cache = Cache()
    maps = [stored(), stored("uid-AftrPool-edge-west", "west", "2001:db8:3000::/36")]
    for one in (pool(), pool("west"), *maps[::order]):
        cache.put(one)
    for _ in range(2):  # nothing is added up
        claims = cache.accepted()[Holder("B4Group", "edge", "homes")]
        assert sorted(str(claim.value) for claim in claims) == [PREFIX, "2001:db8:3000::/36"]


@pytest.mark.parametrize("lost", ["dropped", "damaged", "edited", "without its hash", "without an owner"])
def test_what_was_in_force_is_so_while_its_pool_is_there(lost: str) -> None:
    """Whatever becomes of the ConfigMap: deleted or without our label, as a watch tells both, or changed by somebody."""
    cache = Cache()
    for one in (pool(), stored()):
        cache.put(one)
    before, claims = cache.running(cache.view(KEY)), cache.accepted()
    data = stored()["data"]
    edited = {**data, "pool.yaml": data["pool.yaml"].replace("2001:db8:6400::/64", "2001:db8:65::/64")}
    assert edited != data
    changed = newer(stored(), data={"damaged": {"pool.yaml": "x"}, "dropped": data}.get(lost, edited))
    if lost == "without its hash":
        del changed["metadata"]["annotations"]
    if lost == "without an owner":
        del changed["metadata"]["ownerReferences"]
    cache.drop(changed) if lost == "dropped" else cache.put(changed)
    assert cache.running(cache.view(KEY)) == before is not None
    assert cache.accepted() == claims != {}
    cache.drop(newer(pool()))
    cache.drop(newer(changed))
    assert cache.accepted() == {}


def test_what_an_operator_wrote_is_in_force_whatever_others_add() -> None:
    """The next one's, say; or a backup of it that somebody put back."""
    cache, first = Cache(), stored()
    first["metadata"]["labels"] = {**first["metadata"]["labels"], "team": "edge"}
    before = render(KEY, IDS, None, configured(pool(slots=8)), "", SETTINGS)
    wish = Wish(KEY, "uid-AftrPool-edge-east", before, 1, "surge", SETTINGS, False)
    next_one = newer(first, data=config_map(wish)["data"])
    next_one["metadata"]["annotations"] = finished(wish, config_map(wish))["metadata"]["annotations"]
    for one in (pool(), first, next_one):
        cache.put(one)
    found = cache.running(cache.view(KEY))
    assert found is not None
    assert found.configuration.pool.spec.slots == 8


@pytest.mark.parametrize(
    "data",
    [
        {"pool.yaml": stored()["data"]["pool.yaml"]},
        {**stored()["data"], "release.json": "{"},
        {**stored()["data"], "pool.yaml": stored()["data"]["pool.yaml"].replace("spec:", "spec:\n  newer: {a: 1}")},
    ],
)
def test_one_that_never_could_be_read_keeps_its_claims(data: dict[str, str]) -> None:
    """After a rollback of the operator, say: it is not taken for none, and nobody else gets what its pods announce."""
    cache, whole = Cache(), Cache()
    for one in (pool(), newer(stored(), data=data)):
        cache.put(one)
    whole.put(stored())
    assert cache.accepted() == whole.accepted() != {}
    assert cache.rendered(cache.view(KEY)) is None
    with pytest.raises(RenderedError, match="ConfigMap east-aftr is not as the operator wrote it"):
        cache.running(cache.view(KEY))


def test_what_a_later_release_knows_of_its_templates_is_no_damage() -> None:
    cache, whole = Cache(), stored()
    release = json.loads(whole["data"]["release.json"])
    later = {**whole["data"], "release.json": json.dumps({**release, "later": 1})}
    for one in (pool(), newer(whole, data=later)):
        cache.put(one)
    found = cache.running(cache.view(KEY))
    assert found is not None
    assert asdict(found.release) == release


def test_a_status_is_no_reason_to_judge_anew() -> None:
    cache, body = Cache(), pool()
    cache.put(body)
    before = cache.revision
    cache.put(newer(body, status={"x": 1}))
    assert cache.revision == before
    changed = newer(newer(body))
    changed["metadata"]["generation"] = 2
    cache.put(changed)
    assert cache.revision == before + 1
