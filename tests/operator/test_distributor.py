"""A step of the loop that distributes B4s, on a cache of objects: what is written of each group, and what its status says."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes import client

from cluster_objects import IDS, KEY, SETTINGS, configured, group, pool
from dns_servers import ZONE, dns_server
from dslite_contract.schema import AftrPool
from dslite_contract.slots import slot_fqdn
from dslite_operator.apply import ApiError, Writer, refusal
from dslite_operator.desired import Wish, config_map, finished, render
from dslite_operator.distribution import distributor as distributing
from dslite_operator.distribution import maps as room
from dslite_operator.distribution.config_maps import map_object
from dslite_operator.distribution.counting import Softwire
from dslite_operator.distribution.decision import Decision, assignment_of, decide
from dslite_operator.distribution.distributor import Distributor
from dslite_operator.distribution.dns.keeper import Names
from dslite_operator.distribution.dns.records import Wanted
from dslite_operator.distribution.dns.resolving import Standing
from dslite_operator.distribution.ground import Ground, Survey
from dslite_operator.distribution.in_force import Result, in_force
from dslite_operator.distribution.maps import Area, BucketMap, text_of
from dslite_operator.distribution.observed import Observed, observed
from dslite_operator.distribution.providers.provider import Assignment, Given, Timers
from dslite_operator.distribution.saying import group_fields
from dslite_operator.distribution.sightings import Sightings
from dslite_operator.distribution.teller import Kept, Teller
from dslite_operator.distribution.wishes import areas_of
from dslite_operator.names import DRAIN_SLOTS, Ids, Key
from dslite_operator.observe import Cache
from dslite_operator.settings import Settings
from dslite_operator.signer import Signer
from dslite_operator.status import Told
from operating import settings
from slot_names import secret_in

Object = dict[str, Any]

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SERVER = {"name": "metro", "url": "unix:///nonexistent/kea", "probe": "2001:db8::1"}
WITH_KEA = settings(dhcp={"owner": "metro", "servers": [SERVER]})


def homes(name: str = "homes", number: int = 0, **spec: Any) -> Object:
    """A group on two slots, in a prefix of its own by `number`."""
    dhcp = {"server": "metro", "subnets": [f"2001:db8:1{number}00::/48"]}
    return group(name, f"2001:db8:1{number}00::/40", **{"slots": 2, "dhcp": dhcp, **spec})


def map_of(body: Object, slots: tuple[int, ...] = (0,) * 128 + (1,) * 128, **changed: Any) -> BucketMap:
    """A group's map, with its first subnet: half of its buckets on each of two slots."""
    (model,) = configured(pool(), body).groups
    first = areas_of(model)[0]
    made: Object = {"areas": {first: slots}, "chosen": (0, 1), "levelled": 2, **changed}
    return BucketMap(f"edge/{body['metadata']['name']}", "east", "last", **made)


def cached(*bodies: Object, maps: Mapping[str, str] = {}, drains: str = "") -> Cache:
    """A pool in force with these groups, and ConfigMaps with the texts of bucket maps."""
    east = pool()
    east["metadata"]["annotations"] = {DRAIN_SLOTS: drains}
    rendered = render(KEY, IDS, None, configured(pool(), *bodies), "", SETTINGS)
    wish = Wish(KEY, pool()["metadata"]["uid"], rendered, 1, "surge", SETTINGS, False)
    named = {body["metadata"]["name"]: body for body in bodies}
    kept = (map_object(named[name], "east", text, None) for name, text in maps.items())
    made = [finished(wish, config_map(wish)), *kept]
    for number, one in enumerate(made):
        one["metadata"] |= {"uid": f"uid-{number}", "resourceVersion": "1"}
    return holding(east, *bodies, *made)


def holding(*bodies: Object) -> Cache:
    """All that there is."""
    cache = Cache()
    for one in bodies:
        cache.put(one)
    return cache


class Requests(Writer):
    """A writer whose requests go nowhere: they are kept, by what they are about, or refused by the names or kinds of objects."""

    def __init__(self, **refused: int) -> None:
        super().__init__(client.ApiClient())
        self.made: dict[str, Object] = {}
        self._refused = refused

    async def call(self, method: str, where: str, body: Object | None = None, *_: Any, **__: Any) -> Object:
        assert body is not None
        name = body["metadata"]["name"]
        status = self._refused.get(name.removesuffix("-buckets"), self._refused.get(body["kind"]))
        if status is not None:
            raise refusal(method, where, status, json.dumps({"message": "no"}))
        self.made[f"{body['kind']} {name}"] = body
        return {**body, "metadata": {**body["metadata"], "uid": "uid-new", "resourceVersion": "2"}}


def distributor(
    cache: Cache, requests: Requests, session: aiohttp.ClientSession, content: Settings = WITH_KEA
) -> Distributor:
    return Distributor(cache, requests, content, session, Signer(Path("/nonexistent")), lambda key: None)


async def test_what_a_person_asks_for_is_kept_until_b4s_are_counted(session: aiohttp.ClientSession) -> None:
    """`kubectl dslite rebalance` while the operator was away: by buckets alone all is level, so it would have been taken for done."""
    body, requests = homes(), Requests()
    asked = text_of(map_of(body, chosen=(), levelled=0))
    made = distributor(cached(body, maps={"homes": asked}), requests, session)
    await made.step(NOW)
    assert requests.made == {}
    said = made.said_of(body)
    assert said is not None
    assert said.verdicts[0].reason == "Asking"
    assert said.status == {}, "numbers that nobody knows"


@pytest.mark.parametrize("read", [False, True])
async def test_no_group_is_placed_before_the_leases_of_its_server_are_known(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, read: bool
) -> None:
    """Its map may be lost, and they know where its B4s are.  A group that has one is told it."""
    counted(monkeypatch)
    body = homes()
    made = distributor(cached(body), Requests(), session)
    answering(made).counted = read
    await made.step(NOW)
    reason, sentence = reason_of(made, body)
    assert reason == ("Waiting" if read else "Refused")
    assert read or "or the DHCPv6 server does not say which leases it gave" in sentence
    made = distributor(cached(body, maps={"homes": text_of(map_of(body))}), Requests(), session)
    answering(made).counted = read
    await made.step(NOW)
    assert reason_of(made, body)[0] == "Telling"


async def test_a_status_says_what_it_said_while_numbers_are_counted_anew(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be a million B4s: a look at the pool meanwhile would have taken Provisioned away."""
    counted(monkeypatch)
    body, during = homes(), list[Told | None]()
    made = distributor(cached(body), Requests(), session)
    answering(made)

    def watched(*given: Any) -> Object:
        during.append(made.said_of(body))
        return group_fields(*given)

    monkeypatch.setattr(distributing, "group_fields", watched)
    await made.step(NOW)
    said = made.said_of(body)
    await made.step(NOW)
    assert said is not None
    assert during == [None, said]


async def test_o02_names_of_a_pool_that_is_there_stay_whatever_is_known_of_it(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Its ConfigMap is gone, and what it asks for is refused.  Its B4s have hard-coded names: no DHCPv6 server says that they are used."""
    body = group("homes", "2001:db8:1000::/40")
    with dns_server("knot") as server:
        zone = {"zone": ZONE, "server": str(server.place), "tsigSecretRef": "tsig"}
        content = settings(dns={"owner": "metro", "zones": [zone]}, secrets=str(secret_in(tmp_path)))
        await distributor(cached(body), Requests(), session, content).step(NOW)
        written = server.records()
        assert sum(" AAAA " in line for line in written) == 4
        await distributor(holding(pool(), body), Requests(), session, content).step(NOW)
        assert server.records() == written
        await distributor(holding(body), Requests(), session, content).step(NOW)
        assert sum("until=" in line for line in server.records()) == 4, "the pool is gone"


async def test_o02_no_name_is_given_up_before_the_leases_are_read(session: aiohttp.ClientSession) -> None:
    """One may have been given for longer than the server gives now: its name stays until it has ended."""
    made = distributor(cached(homes()), Requests(), session)
    teller = answering(made)
    teller._wanted = teller._carried_out = teller.told
    assert made._use(frozenset()).names == set()
    teller.counted = False
    assert made._use(frozenset()).names is None


# ---------------------------------------------------------------- one group stops no other
def widened(name: str, number: int) -> Object:
    """A group with a subnet that is not in its map yet."""
    subnets = [f"2001:db8:1{number}00::/48", f"2001:db8:1{number}01::/48"]
    return homes(name, number, dhcp={"server": "metro", "subnets": subnets})


def reason_of(made: Distributor, body: Object) -> tuple[str, str]:
    said = made.said_of(body)
    assert said is not None
    return said.verdicts[0].reason, said.verdicts[0].message


async def test_a_map_that_no_config_map_would_hold_stops_that_group_alone(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small, requests = widened("large", 0), widened("small", 1), Requests()
    texts = {"large": text_of(map_of(large, (0, 1) * 128)), "small": text_of(map_of(small))}
    monkeypatch.setattr(room, "LARGEST_TEXT", len(texts["large"]))
    made = distributor(cached(large, small, maps=texts), requests, session)
    await made.step(NOW)
    assert requests.made.keys() == {"ConfigMap small-buckets"}
    reason, sentence = reason_of(made, large)
    assert reason == "Refused"
    assert sentence.endswith("at most are kept: divide the group; what was told stays so")
    assert reason_of(made, small)[0] == "Asking"


@pytest.mark.parametrize(("status", "reason"), [(422, "Refused"), (409, "Asking")])
async def test_a_map_that_the_api_server_does_not_take_stops_that_group_alone(
    session: aiohttp.ClientSession, status: int, reason: str
) -> None:
    """Somebody who has changed it meanwhile is no trouble: his change is on its way."""
    first, second, requests = widened("first", 0), widened("second", 1), Requests(first=status)
    texts = {"first": text_of(map_of(first)), "second": text_of(map_of(second))}
    made = distributor(cached(first, second, maps=texts), requests, session)
    await made.step(NOW)
    assert requests.made.keys() == {"ConfigMap second-buckets"}
    assert reason_of(made, first)[0] == reason
    assert reason_of(made, second)[0] == "Asking"


async def test_an_api_server_that_does_not_answer_is_not_asked_for_each_group(session: aiohttp.ClientSession) -> None:
    first, second, requests = widened("first", 0), widened("second", 1), Requests(first=0)
    texts = {"first": text_of(map_of(first)), "second": text_of(map_of(second))}
    with pytest.raises(ApiError):
        await distributor(cached(first, second, maps=texts), requests, session).step(NOW)
    assert requests.made == {}


@pytest.mark.parametrize("status", [403, 429])
async def test_a_map_is_written_whatever_becomes_of_its_event(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A quota is used up, or there are too many: that a map was lost and is made anew cannot be said."""
    counted(monkeypatch, Softwire(IPv6Address("2001:db8:1000::1"), 2))
    requests = Requests(Event=status)
    made = distributor(cached(homes(slots=1), maps={"homes": "{"}), requests, session)
    answering(made)
    await made.step(NOW)
    assert requests.made.keys() == {"ConfigMap homes-buckets"}


# ---------------------------------------------------------------- one pool stops no other
def beside(*bodies: Object) -> Cache:
    """A second pool in force, in another namespace, with homes of its own: beside the first one with its groups."""
    core, own = Key("core", "east"), group("homes", "2001:db8:1300::/40", namespace="core", slots=2, dhcp=FAR)
    theirs = pool(namespace="core", number=1)
    rendered = render(core, Ids("uid-core", "uid-east"), None, configured(theirs, own), "", SETTINGS)
    wish = Wish(core, theirs["metadata"]["uid"], rendered, 1, "surge", SETTINGS, False)
    text = text_of(
        replace(map_of(homes()), group="core/homes", areas={Area(IPv6Network(FAR["subnets"][0])): (3,) * 256})
    )
    made = [finished(wish, config_map(wish)), map_object(own, "east", text, None)]
    for number, one in enumerate(made):
        one["metadata"] |= {"uid": f"uid-core-{number}", "resourceVersion": "1"}
    cache = cached(*bodies, maps={body["metadata"]["name"]: text_of(map_of(body)) for body in bodies})
    for one in (theirs, own, *made):
        cache.put(one)
    return cache


FAR = {"server": "metro", "subnets": ["2001:db8:1300::/48"]}


@pytest.mark.parametrize("where", ["counted", "decided", "found", "told"])
async def test_what_nobody_expected_of_one_pool_stops_no_other(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Its groups stay as they are, and their conditions say why; the other pool's are told."""

    def broken(of: object) -> None:
        if getattr(of, "key", getattr(of, "metadata", None)) in (KEY, found.pool.metadata):
            raise IndexError("index out of range")

    async def of(_: Sightings, ground: Ground, __: object) -> dict[str, Observed]:
        broken(ground if where == "counted" else None)
        return observed(ground.groups, {"metro": []}, [])

    def decided(pool_of: AftrPool, *rest: Any) -> dict[str, Decision]:
        broken(pool_of if where == "decided" else None)
        return decide(pool_of, *rest)

    def forces(survey: Survey, ground: Ground, *rest: Any) -> dict[str, Result]:
        broken(ground if where == "found" else None)
        return in_force(survey, ground, *rest)

    def assigned(pool_of: AftrPool, *rest: Any) -> Assignment:
        broken(pool_of if where == "told" else None)
        return assignment_of(pool_of, *rest)

    body = homes()
    found = configured(pool(), body)
    monkeypatch.setattr(Sightings, "of", of)
    monkeypatch.setattr(distributing, "decide", decided)
    monkeypatch.setattr(distributing, "in_force", forces)
    monkeypatch.setattr(distributing, "assignment_of", assigned)
    made = distributor(beside(body), Requests(), session)
    teller = answering(made)
    await made.step(NOW)
    assert reason_of(made, body) == ("Refused", "IndexError: index out of range; what was told stays so")
    kept = {} if where in ("found", "told") else {"edge/homes": [KEPT]}
    assert told(teller) == {"core/homes": FAR["subnets"]} | kept


async def test_o02_b4s_that_are_seen_wait_for_the_name_of_their_slot_and_those_of_a_lost_map_do_not(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No DNS server knows any name here."""
    counted(monkeypatch, Softwire(IPv6Address("2001:db8:1000::1"), 2))
    for maps, reason in (({}, "Waiting"), ({"homes": "{"}, "Telling")):
        body, requests = homes(slots=1), Requests()
        made = distributor(cached(body, maps=maps), requests, session)
        answering(made)
        await made.step(NOW)
        assert reason_of(made, body)[0] == reason
        assert ("ConfigMap homes-buckets" in requests.made) is (reason == "Telling")


@pytest.mark.parametrize("refused", [{}, {"homes": 403}])
async def test_o02_b4s_that_are_seen_are_told_nothing_whatever_stops_their_group(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, refused: dict[str, int]
) -> None:
    """Another group asks for what cannot be, and no name resolves; or all do, and the map is not taken: unwritten, it would be lost."""
    counted(monkeypatch, Softwire(IPv6Address("2001:db8:1000::1"), 2))
    body = homes(slots=1)
    bodies, texts = ([body], {}) if refused else ([body, WRONG], {"wrong": text_of(map_of(WRONG))})
    if refused:
        monkeypatch.setattr(Names, "keep", all_resolve)
    requests = Requests(**refused)
    made = distributor(cached(*bodies, maps=texts), requests, session)
    teller = answering(made)
    await made.step(NOW)
    assert reason_of(made, body)[0] == "Refused"
    assert told(teller) == ({} if refused else {"edge/wrong": [PASSED]})


async def all_resolve(_: Names, wanted: Mapping[str, Wanted], *__: object) -> Standing:
    """As though each name resolved everywhere."""
    return Standing(frozenset(wanted))


# ---------------------------------------------------------------- an area on its way from one group to another
KEPT, PASSED = "2001:db8:1000::/48", "2001:db8:1100::/48"
DIVIDED = homes("north", 0), homes("south", 1)
BOTH = map_of(DIVIDED[0], areas={Area(IPv6Network(one)): (0,) * 128 + (1,) * 128 for one in (KEPT, PASSED)})
CUT_TO_ONE = homes("north", 0, slots=1), homes("south", 1, slots=1)  # the division of docs/distribution.md
WRONG = homes("wrong", 1, dhcp={"server": "metro", "subnets": [PASSED], "bucketBytes": "lastTwoLowNibbles"})
NAMES = tuple(slot_fqdn(configured(pool()).pool, slot) for slot in (0,) * 128 + (1,) * 128)


def counted(monkeypatch: pytest.MonkeyPatch, *softwires: Softwire, leases: Sequence[Given] | None = None) -> None:
    """Every slot's AFTR has answered, and the server shows these leases."""

    async def of(_: Sightings, ground: Ground, __: object) -> dict[str, Observed]:
        return observed(ground.groups, {"metro": leases}, softwires)

    monkeypatch.setattr(Sightings, "of", of)


def answering(made: Distributor, *copies: BucketMap) -> Teller:
    """Its server has answered: it tells these maps, with leases of half an hour."""
    teller = made._tellers["metro"]
    teller.kept, teller.counted = Kept({one.group: text_of(one) for one in copies}), True
    teller.told = {one.group: Assignment(one.group, one.cut, (), text_of(one)) for one in copies}
    return teller


def told(teller: Teller) -> dict[str, list[str]]:
    """Which subnets a server is to tell by which group."""
    return {name: sorted(str(area) for area in one.areas) for name, one in (teller._wanted or {}).items()}


def kept_in(requests: Requests, name: str) -> BucketMap:
    """The map that was written last."""
    return room.map_of(requests.made[f"ConfigMap {name}-buckets"]["data"]["map.json"], f"edge/{name}")


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize(
    "refused", [{"south": 403}, {"south": 422}, {"south": 409}, {"north": 422}, {"north": 422, "south": 422}]
)
async def test_an_area_is_told_by_one_group_whichever_map_is_not_written(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, refused: dict[str, int], seen: bool
) -> None:
    """North is divided, and its B4s are told what they were: for as long as it takes, and when both can be written at last."""
    if seen:
        counted(monkeypatch)
    requests = Requests(**refused)
    made = distributor(cached(*DIVIDED, maps={"north": text_of(BOTH)}), requests, session)
    teller = answering(made, BOTH)
    for _ in range(3):
        await made.step(NOW)
        by = "edge/north" if "south" in refused else "edge/south"
        assert sorted(subnet for its in told(teller).values() for subnet in its) == [KEPT, PASSED]
        assert PASSED in told(teller)[by]
        assert {one.parts[0].names for one in (teller._wanted or {}).values()} == {NAMES}
    requests._refused.clear()
    for _ in range(2):
        await made.step(NOW)
        assert told(teller) == {"edge/north": [KEPT], "edge/south": [PASSED]}
    north, south = (kept_in(requests, name) for name in ("north", "south"))
    assert {**north.areas, **south.areas} == BOTH.areas
    assert north.former == {}


@pytest.mark.parametrize(("written", "other"), [("north", "south"), ("south", "north")])
async def test_an_operator_that_ends_between_two_maps_goes_on_from_there(
    session: aiohttp.ClientSession, written: str, other: str
) -> None:
    """One of them is written, and no copy is left at the server either."""
    requests, before = Requests(**{other: 422}), {"north": text_of(BOTH)}
    ended = distributor(cached(*DIVIDED, maps=before), requests, session)
    answering(ended, BOTH)
    await ended.step(NOW)
    texts = before | {written: text_of(kept_in(requests, written))}
    made = distributor(cached(*DIVIDED, maps=texts), Requests(), session)
    teller = answering(made)
    for _ in range(2):
        await made.step(NOW)
        assert told(teller) == {"edge/north": [KEPT], "edge/south": [PASSED]}
        assert {one.parts[0].names for one in (teller._wanted or {}).values()} == {NAMES}


async def test_a_server_is_told_once_of_a_division(session: aiohttp.ClientSession) -> None:
    """The first group's map forgets the area when the other has it: that is no news for a server, which each change stops."""
    made = distributor(cached(*DIVIDED, maps={"north": text_of(BOTH)}), Requests(), session)
    teller = answering(made, BOTH)
    await made.step(NOW)
    wanted = teller._wanted
    await made.step(NOW)
    assert teller._wanted == wanted


# ---------------------------------------------------------------- divided while B4s are at work
@pytest.mark.parametrize("hook", [True, False])
async def test_d21_halves_of_a_divided_group_move_at_their_pace(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, hook: bool
) -> None:
    """Two thirds of south's B4s are still where they were before they are told slot 1: south is where north had it, not where these are."""
    passed = [IPv6Address("2001:db8:1100::1") + (number << 64) for number in range(96)]
    leases = [
        Given(
            IPv6Network(PASSED),
            bytes((0, 3, 0, 1, 2, 0, 0, 0, 0, number * 2)),
            IPv6Network((int(one) >> 64 << 64, 64)),
            7200,
        )
        for number, one in enumerate(passed)
    ]
    counted(monkeypatch, *(Softwire(one, 0, 3) for one in passed), leases=leases if hook else None)
    requests = Requests()
    made = distributor(cached(*CUT_TO_ONE, maps={"north": text_of(BOTH)}), requests, session)
    teller = answering(made, BOTH)
    await made.step(NOW)
    assert kept_in(requests, "south").areas == {Area(IPv6Network(PASSED)): BOTH.areas[Area(IPv6Network(PASSED))]}
    assert not any(name.startswith("Event") for name in requests.made), "nothing was lost, and nobody moves yet"
    assert (teller._wanted or {})["edge/south"].parts[0].names == NAMES


# ---------------------------------------------------------------- a drain goes on
@pytest.mark.parametrize("refused", [{}, {"homes": 422}])
async def test_o03_what_stops_a_group_leaves_the_t1_of_its_drain_short(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, refused: dict[str, int]
) -> None:
    """Another group asks for what cannot be, or the map is not taken: with the old T1 again, B4s would move before they can know."""
    counted(monkeypatch)
    homes_before = homes()
    bodies, texts = [homes_before], {"homes": text_of(map_of(homes_before))}
    if not refused:
        bodies, texts = [*bodies, WRONG], texts | {"wrong": text_of(map_of(WRONG))}
    made = distributor(cached(*bodies, maps=texts, drains=f"0={NOW.isoformat()}"), Requests(**refused), session)
    teller = answering(made, map_of(homes_before))
    teller._lasting.read({IPv6Network(KEPT): Timers(1800, 7200)}, time.monotonic())
    await made.step(NOW)
    assert (teller._wanted or {})["edge/homes"].renew_s == 300
