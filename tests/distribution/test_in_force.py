"""Which bucket maps hold: what is in the cluster, what servers remember, what engines see; and what is not known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cluster_objects import IDS, KEY, SETTINGS, configured, group, kubernetes, pool
from dslite_contract.schema import B4Group
from dslite_operator.desired import Wish, config_map, finished, render
from dslite_operator.distribution.config_maps import group_of, is_map, map_object, text_in
from dslite_operator.distribution.decision import Decision
from dslite_operator.distribution.ground import Ground, Survey, survey
from dslite_operator.distribution.in_force import SILENT, Result, former, in_force
from dslite_operator.distribution.maps import Area, BucketMap, text_of
from dslite_operator.distribution.observed import Observed
from dslite_operator.distribution.wishes import areas_of, name_of
from dslite_operator.names import Key
from dslite_operator.observe import Cache

BODY = group("homes", "2001:db8:1000::/36", dhcp={"server": "metro", "subnets": ["2001:db8:1000::/48"]})
FOUND = configured(pool(), BODY)
(HOMES,) = FOUND.groups
(AREA,) = areas_of(HOMES)
NAME = "edge/homes"
DIVIDED = configured(
    pool(), BODY, group("flats", "2001:db8:2000::/36", dhcp={"server": "metro", "subnets": ["2001:db8:2000::/48"]})
)
FLATS = "edge/flats"
PASSED = next(areas_of(one)[0] for one in DIVIDED.groups if name_of(one) == FLATS)


def ground() -> Ground:
    return Ground(KEY, FOUND.pool, FOUND.groups, FOUND.groups, {})


def on(slot: int, name: str = NAME, in_pool: str = "east", area: Area = AREA) -> BucketMap:
    return BucketMap(name, in_pool, "last", {area: (slot,) * 256}, (slot,), 1)


def there(*maps: BucketMap, groups: tuple[str, ...] = (NAME,)) -> Survey:
    """With the ConfigMaps of these maps."""
    made = {one.group: map_object(body(one.group), one.pool, text_of(one), None) for one in maps}
    return Survey((ground(),), dict.fromkeys(groups, BODY), made)


def damaged(data: dict[str, str] | None) -> Survey:
    """With a ConfigMap of which a person left this."""
    made = {**map_object(BODY, "east", text_of(on(0)), None), "data": data}
    return Survey((ground(),), {NAME: BODY}, {NAME: made})


def body(name: str) -> dict[str, Any]:
    return kubernetes("B4Group", name.split("/")[1], name.split("/", maxsplit=1)[0], {})


def seen_on(slot: int) -> Observed:
    return Observed(seen={AREA: [Counter({slot: 5})]})


def result(found: Survey, copies: dict[str, str] | None, seen: Observed | None, one: B4Group = HOMES) -> Result:
    return in_force(found, ground(), {"metro": copies}, [], {NAME: seen} if seen else {})[name_of(one)]


# ---------------------------------------------------------------- recovery
def test_the_cluster_comes_before_the_servers_copy_and_that_before_what_is_seen() -> None:
    copies = {NAME: text_of(on(1))}
    assert result(there(on(0)), copies, seen_on(2)).map == on(0)
    lost = result(there(), copies, seen_on(2))
    assert lost.map == on(1)
    assert lost.lost.startswith("the ConfigMap is gone: the bucket map is the DHCPv6 server's copy")
    found = result(there(), {}, seen_on(2)).map
    assert found is not None
    assert found.areas == {AREA: (2,) * 256}
    nothing = result(there(), {}, Observed())
    assert (nothing.known, nothing.map, nothing.lost) == (True, None, "")


def test_nothing_is_decided_while_nobody_could_say_what_was() -> None:
    assert not result(there(), None, seen_on(2)).known
    silent = result(there(), {}, None)
    assert (silent.known, silent.trouble) == (False, SILENT)
    assert result(there(on(0)), None, None).map == on(0)


@pytest.mark.parametrize("data", [{"map.json": "{"}, {"map.json": text_of(on(0, "edge/shops"))}, {}, None])
def test_a_damaged_map_is_as_good_as_none(data: dict[str, str] | None) -> None:
    """Placed anew before its server was asked, all B4s of the group would have moved at once."""
    asking = result(damaged(data), None, seen_on(2))
    assert (asking.known, asking.trouble) == (False, "")
    silent = result(damaged(data), {}, None)
    assert (silent.known, silent.trouble) == (False, SILENT)
    copied = result(damaged(data), {NAME: text_of(on(1))}, None)
    assert copied.map == on(1)
    assert "the bucket map is the DHCPv6 server's copy" in copied.lost
    found = result(damaged(data), {}, seen_on(2))
    assert found.map is not None
    assert found.map.areas == {AREA: (2,) * 256}
    nowhere = result(damaged(data), {}, Observed())
    assert (nowhere.known, nowhere.map) == (True, None)
    assert nowhere.lost.endswith("and no engine sees these B4s: the group is placed anew")


def test_a_copy_that_cannot_be_read_says_nothing_either() -> None:
    assert result(there(), {NAME: "{"}, None).trouble == SILENT


def test_a_newer_map_is_left_to_the_newer_operator() -> None:
    newer = text_of(on(0)).replace('"version":1', '"version":3')
    made = result(there(), {NAME: newer}, Observed())
    assert not made.known
    assert "run the newer operator" in made.trouble
    assert made.stopped("something else").decided is None


def test_a_map_of_another_pool_is_none_of_this_one() -> None:
    made = result(there(on(0, in_pool="west")), {}, Observed())
    assert (made.known, made.map) == (True, None)
    assert result(there(on(0, in_pool="west")), {}, None).trouble == SILENT


@pytest.mark.parametrize("larger", [on(4), replace(on(0), former={PASSED: (4,) * 256})])
def test_a_map_of_a_pool_of_that_name_that_had_more_slots_is_none_of_this_one(larger: BucketMap) -> None:
    """Deleted, and made again with four: no B4 of any pool was told anything, for slot 4 has no name."""
    made = result(there(larger), {NAME: text_of(larger)}, seen_on(2))
    assert made.map is not None
    assert made.map.areas == {AREA: (2,) * 256}
    assert former(ground(), {NAME: text_of(larger), FLATS: text_of(on(3, FLATS))}) == {FLATS: on(3, FLATS)}


def test_what_stops_all_keeps_each_where_it_is() -> None:
    stopped = result(there(on(0)), {}, Observed()).stopped("no slot is left")
    assert stopped.decided is not None
    assert (stopped.decided.map, stopped.trouble) == (on(0), "no slot is left")


def test_what_stops_all_tells_nobody_a_map_of_which_a_part_is_missing() -> None:
    """The ConfigMap and the copy are gone or damaged, engines see the B4s of one bucket or none, and the others cannot be placed."""
    part = Observed(seen={AREA: [Counter({2: 5}), *[Counter[int]()] * 255]})
    for found in (result(damaged({}), {}, part), result(there(), {NAME: "{"}, Observed())):
        assert found.known
        stopped = found.stopped("no slot is left")
        assert (stopped.known, stopped.decided, stopped.trouble) == (False, None, "no slot is left")
    assert result(there(), {}, Observed()).stopped("no slot is left").decided is not None, "a new group is nowhere"


def test_o02_what_stops_all_tells_nobody_the_name_of_the_slot_where_he_is_seen_alone() -> None:
    """Nobody has asked yet whether it resolves.  The map of another pool was told, but no name of this one."""
    part = Observed(seen={AREA: [Counter({2: 5}), *[Counter[int]()] * 255]})
    for found in (result(there(), {}, seen_on(2)), result(there(on(0, in_pool="west")), {}, part)):
        assert found.map is not None
        stopped = found.stopped("no slot is left")
        assert (stopped.known, stopped.decided, stopped.trouble) == (True, Decision(None, {}), "no slot is left")


def test_what_stops_all_keeps_the_shorter_t1_of_a_drain() -> None:
    """Told the old one half way, B4s would move on as though their leases had the short one."""
    stopped = result(there(on(0)), {}, Observed()).stopped("no slot is left", timedelta(minutes=5))
    assert stopped.decided is not None
    assert stopped.decided.renewal == timedelta(minutes=5)


# ---------------------------------------------------------------- a group that is made by dividing was never lost
def divided(homes: BucketMap, *gone: BucketMap, copies: dict[str, str] | None, seen: Observed | None) -> Result:
    """What is known of flats, which are new."""
    where = Ground(KEY, DIVIDED.pool, DIVIDED.groups, DIVIDED.groups, {})
    every = {NAME: Observed(), FLATS: seen} if seen else {}
    return in_force(there(homes), where, {"metro": copies}, gone, every)[FLATS]


@pytest.mark.parametrize("seen", [None, Observed(seen={PASSED: [Counter({2: 5})]})])
def test_d21_areas_that_another_group_had_are_where_that_has_them_whatever_is_seen(seen: Observed | None) -> None:
    """All on the slot with most softwires, half of them would move at once, without a pace and without a word."""
    both = replace(on(0), areas={AREA: (0,) * 256, PASSED: (0,) * 128 + (1,) * 128})
    had, remembered = on(0, "edge/gone", area=PASSED), replace(on(0), former={PASSED: (1,) * 256})
    for homes, gone in ((both, ()), (on(0), (had,)), (remembered, ())):
        assert divided(homes, *gone, copies={}, seen=seen) == Result(True, seen=seen)
    assert not divided(both, copies=None, seen=seen).known, "there may be a copy"


def test_d21_a_group_that_is_made_by_dividing_another_by_match_is_not_where_it_is_seen() -> None:
    match = {"relayInterfaceId": "b-*"}
    made = configured(pool(), group("flats", "2001:db8:2000::/36", dhcp=BODY["spec"]["dhcp"], match=match))
    where = Ground(KEY, made.pool, made.groups, made.groups, {})
    (area,) = areas_of(made.groups[0])
    seen = {FLATS: Observed(seen={area: [Counter({2: 5})]})}
    for had in ("", "b*"):
        homes = on(0, area=AREA._replace(interface_id=had))
        assert in_force(there(homes), where, {"metro": {}}, [homes], seen)[FLATS] == Result(True, seen=seen[FLATS])
    elsewhere = on(0, area=AREA._replace(interface_id="a*"))
    assert in_force(there(elsewhere), where, {"metro": {}}, [elsewhere], seen)[FLATS].map is not None


def test_areas_that_nobody_had_are_where_they_are_seen_and_nothing_was_lost() -> None:
    found = divided(on(0), copies={}, seen=Observed(seen={PASSED: [Counter({2: 5})]}))
    assert found.map is not None
    assert (found.map.areas, found.lost) == ({PASSED: (2,) * 256}, "")
    assert divided(on(0), copies={}, seen=None).trouble == SILENT


def test_o02_by_a_map_that_was_lost_b4s_were_told_and_by_what_is_seen_alone_they_were_not() -> None:
    assert not result(there(), {}, seen_on(2)).told
    assert result(damaged({}), {}, seen_on(2)).told
    assert result(there(on(0)), {}, seen_on(2)).told
    assert result(there(), {NAME: text_of(on(1))}, seen_on(2)).told


# ---------------------------------------------------------------- of groups that are gone
def test_areas_of_groups_that_are_gone_are_remembered_from_wherever() -> None:
    flats, shops = on(1, "edge/flats"), on(2, "edge/shops")
    other, far = on(3, "edge/other", "west"), on(3, "core/far")
    copies = {one.group: text_of(one) for one in (shops, other, far)} | {"edge/broken": "{"}
    assert former(ground(), there(on(0), flats).left(copies)) == {"edge/flats": flats, "edge/shops": shops}


# ---------------------------------------------------------------- as objects
def test_a_config_map_belongs_to_its_group_and_is_written_only_over_what_was_read() -> None:
    made = map_object(BODY, "east", "text", None)
    assert is_map(made)
    assert (group_of(made), text_in(made)) == (NAME, "text")
    assert "resourceVersion" not in made["metadata"]
    again = map_object(BODY, "east", "text", {"metadata": {"resourceVersion": "7"}})
    assert again["metadata"]["resourceVersion"] == "7"
    assert not is_map({"metadata": {}})
    assert group_of({"metadata": {"namespace": "edge"}}) == ""


def test_a_pool_without_configuration_leaves_its_groups_unknown() -> None:
    cache = Cache()
    for one in (pool(), BODY, map_object(BODY, "east", text_of(on(0)), None)):
        cache.put({**one, "metadata": {"uid": one["kind"], "resourceVersion": "1", **one["metadata"]}})
    found = survey(cache)
    assert (found.grounds, found.unknown, found.unread) == ((), {NAME}, {"edge/east"})
    assert found.text(NAME) == text_of(on(0))


def test_a_group_that_goes_to_another_pool_is_told_by_that_one_alone() -> None:
    """Deleted, and made again by its name for the pool west; east serves it until its mappings have ended."""
    cache, west = Cache(), pool("west", number=1)
    moved = group("homes", "2001:db8:1000::/36", "west", dhcp=BODY["spec"]["dhcp"])
    for its_pool, its_group in ((pool(), BODY), (west, moved)):
        key = Key("edge", its_pool["metadata"]["name"])
        rendered = render(key, IDS, None, configured(its_pool, its_group), "", SETTINGS)
        wish = Wish(key, its_pool["metadata"]["uid"], rendered, 1, "surge", SETTINGS, False)
        made = finished(wish, config_map(wish))
        made["metadata"] |= {"uid": f"uid-cm-{key.name}", "resourceVersion": "1"}
        cache.put(its_pool)
        cache.put(made)
    cache.put(moved)
    east_ground, west_ground = survey(cache).grounds
    assert [name_of(one) for one in east_ground.groups] == [NAME]
    assert (east_ground.told, [name_of(one) for one in west_ground.told]) == ((), [NAME])
