"""From B4Groups to option 64 on the wire: the operator between a real API server, a real Kea and a real DNS server."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from assignments import OTHER
from dhcp_client import dhclient, events, is_told
from dhcp_network import HOMES
from distributing import MAP, OWNER, SERVED, Installation, east, homes, installation, tidied
from dns_servers import ZONE
from dslite_operator.distribution.buckets import duid_in
from dslite_operator.distribution.maps import Area, map_of
from dslite_operator.names import DRAIN_SLOTS
from dslite_operator.plugin.cli import main
from kea_servers import unusable
from operating import operator
from reconciling import get, give, until
from stand_in import stood_in

pytestmark = pytest.mark.api

SECOND = "2001:db8:53::99"
DUID = "00:03:00:01:02:00:00:00:00:"
LONG = pytest.mark.distribution
NEWER = [pytest.param(version, marks=LONG) for version in ("2.6", "3.0")]
RENEW_S = 5  # T1 of a client that is waited for
TOLD_S = 10.0  # from a change to its being told, on a busy machine (docs/distribution.md)

Strike = Callable[[], object]  # what goes wrong, when it is called


@pytest.fixture(scope="module", params=["2.2", *NEWER])
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("installation"), str(request.param)) as made:
        yield made


@pytest.fixture(autouse=True)
def tidy(there: Installation) -> Iterator[None]:
    yield
    tidied(there)


def dslite(*words: str) -> Result:
    """`kubectl dslite`."""
    return CliRunner().invoke(main, ["-n", "edge", *words])


def softwire(address: str, slot: int) -> dict[str, object]:
    """As an AFTR lists it."""
    return {"softwire": address, "slot": slot, "sessions": 5}


def settled(there: Installation) -> bool:
    return there.says()[0] == "True"


def numbers(there: Installation) -> list[dict[str, Any]]:
    """B4s on each slot; none while they are not counted."""
    found: list[dict[str, Any]] = get(there.api, "b4group", "homes")["status"].get("slots", [])
    return found


def test_d21_a_group_is_told_its_two_slots_on_the_wire(there: Installation, tmp_path: Path) -> None:
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        assert set(there.all_told()) == {"s0", "s1"}
        assert there.says("Resolved")[0] == "True"
        assert there.says()[1].startswith("DHCPv6 server metro tells slots 0, 1, by bucket map ")
        assert len([line for line in there.dns.records() if " AAAA " in line]) == 4
        (owner,) = get(there.api, "configmap", MAP)["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("B4Group", "homes")


def test_a_lost_map_comes_back_and_no_b4_moves(there: Installation, tmp_path: Path) -> None:
    """Proof 5: the ConfigMap deleted under a running operator, and while there is none; from Kea's copy both times."""
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        before, told = there.map(), there.all_told()
        there.api.kubectl("delete", "configmap", MAP, "-n", "edge")
        until(lambda: there.map() == before)
    there.api.kubectl("delete", "configmap", MAP, "-n", "edge")
    document = asyncio.run(there.kea.document())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: there.map() == before and settled(there))
        assert there.all_told() == told
    assert asyncio.run(there.kea.document()) == document
    events = there.api.kubectl("get", "events", "-n", "edge", "--field-selector=reason=BucketMapLost").stdout
    assert "the ConfigMap is gone: the bucket map is the DHCPv6 server's copy" in events


def test_a_persons_config_map_is_left_alone_and_stops_one_group(there: Installation, tmp_path: Path) -> None:
    """It has the name that the bucket map of a group would have: that group waits, another one does not."""
    api = there.api
    assert api.kubectl("create", "configmap", MAP, "-n", "edge", "--from-literal=mine=1").returncode == 0
    give(api, east(), homes(), homes("shops", "2001:db8:41::/60", str(OTHER)))
    with operator(api, tmp_path, there.settings()):
        until(lambda: there.says("Provisioned", "shops")[0] == "True", 60)
        until(lambda: f"ConfigMap edge/{MAP} is not ours" in there.says()[1])
        assert get(api, "configmap", MAP)["data"] == {"mine": "1"}
        assert set(there.all_told()) == {None}
        api.kubectl("delete", "configmap", MAP, "-n", "edge")
        until(lambda: settled(there), 60)
        assert set(there.all_told()) == {"s0", "s1"}


def test_a_group_is_divided_and_merged_again(there: Installation, tmp_path: Path) -> None:
    """Divided with as many slots as before nobody moves, nor merged again; on fewer slots half of them do."""
    both = str(HOMES), str(OTHER)
    give(there.api, east(), homes("homes", "2001:db8:40::/60", *both))
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        before = there.all_told(), there.all_told(OTHER)
        give(there.api, homes(), homes("shops", "2001:db8:41::/60", str(OTHER)))
        until(lambda: there.says("Provisioned", "shops")[0] == "True" and settled(there), 60)
        assert (there.all_told(), there.all_told(OTHER)) == before
        assert len(asyncio.run(there.kea.provider(OWNER).copies())) == 2
        there.api.kubectl("delete", "b4group", "shops", "-n", "edge")
        until(lambda: asyncio.run(there.kea.provider(OWNER).copies()).keys() == {"edge/homes"})
        give(there.api, homes("homes", "2001:db8:40::/60", *both))
        until(lambda: None not in there.all_told(OTHER) and settled(there), 60)
        assert (there.all_told(), there.all_told(OTHER)) == before
        began = time.monotonic()
        give(there.api, homes("homes", "2001:db8:40::/60", *both, slots=1))
        until(lambda: set(there.all_told()) == {"s0"} and settled(there))
        took = time.monotonic() - began
        print(f"Kea {there.kea.version}: told {took:.1f} s after `kubectl apply`")
        assert took < TOLD_S


def test_d21_a_subnet_is_told_as_before_while_the_map_of_its_new_group_cannot_be_written(
    there: Installation, tmp_path: Path
) -> None:
    """A person's ConfigMap has its name: told by neither group, its B4s would have lost their AFTR at their next renewals."""
    api = there.api
    give(api, east(), homes("homes", "2001:db8:40::/60", str(HOMES), str(OTHER)))
    with operator(api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        before = there.all_told(OTHER)
        assert set(before) == {"s0", "s1"}
        assert (
            api.kubectl("create", "configmap", "shops-buckets", "-n", "edge", "--from-literal=mine=1").returncode == 0
        )
        give(api, homes(), homes("shops", "2001:db8:41::/60", str(OTHER)))
        until(lambda: "ConfigMap edge/shops-buckets is not ours" in there.says("Provisioned", "shops")[1], 60)
        until(lambda: there.all_told(OTHER) == before)  # nobody asked for it for a moment, between the two objects
        api.kubectl("delete", "configmap", "shops-buckets", "-n", "edge")
        until(lambda: there.says("Provisioned", "shops")[0] == "True", 60)
        assert there.all_told(OTHER) == before


def test_d21_a_divided_group_is_where_it_was_told_to_be_and_not_where_it_is_seen(
    there: Installation, tmp_path: Path
) -> None:
    """B4s of the subnet that another group takes have not renewed since they were told another slot.  Nobody lost a map."""
    give(there.api, east(), homes("homes", "2001:db8:40::/60", str(HOMES), str(OTHER)))
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
    before, slots = there.all_told(OTHER), map_of(json.dumps(there.map()), "edge/homes").areas[Area(OTHER)]
    for number in range(32):
        asyncio.run(there.kea.add_lease(number, DUID, 3, "2001:db8:41:"))
    there.aftrs[0].softwires = [
        softwire(f"2001:db8:41:0:{0x8000 + (number << 8):x}::1", 1 - slots[number]) for number in range(32)
    ]
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        give(there.api, homes(), homes("shops", "2001:db8:41::/60", str(OTHER)))
        until(lambda: there.says("Provisioned", "shops")[0] == "True" and settled(there), 60)
        until(lambda: get(there.api, "b4group", "shops")["status"].get("strays") == 32)
        assert there.all_told(OTHER) == before
    events = there.api.kubectl("get", "events", "-n", "edge", "-o", "json").stdout
    assert not [
        one for one in json.loads(events)["items"]
        if (one["reason"], one["involvedObject"]["name"]) == ("BucketMapLost", "shops")
    ]  # fmt: skip


def test_o02_nobody_is_told_a_name_that_does_not_resolve(there: Installation, tmp_path: Path) -> None:
    """While the DNS server is away a group waits; a group that is told already goes on."""
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
    there.dns.kill()
    try:
        with operator(there.api, tmp_path, there.settings()):
            give(there.api, homes("shops", "2001:db8:41::/60", str(OTHER), slots=4))
            until(lambda: there.says("Provisioned", "shops")[1].startswith("nobody is told yet"))
            assert "does not answer" in there.says("Resolved", "shops")[1]
            assert settled(there)
            assert there.told(0) in ("s0", "s1")
            there.dns.start()
            until(lambda: there.says("Provisioned", "shops")[0] == "True", 60)
    finally:
        there.dns.kill()
        there.dns.start()


def test_a_pool_whose_configuration_is_lost_takes_nothing_from_anybody(there: Installation, tmp_path: Path) -> None:
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        document = asyncio.run(there.kea.document())
    there.api.kubectl("delete", "configmap", "--all", "-n", "edge")
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: bool(there.map()) and settled(there), 60)
    assert asyncio.run(there.kea.document()) == document


def test_who_uses_which_slot_is_seen_and_brings_back_a_map_of_which_there_is_no_copy(
    there: Installation, tmp_path: Path
) -> None:
    """B04, B05: 32 B4s in buckets 00-1f have leases; each is on slot 1 but one, and one has no lease.  Nobody has a map."""
    for number in range(32):
        asyncio.run(there.kea.add_lease(number, DUID))
    on_one = [softwire(f"2001:db8:40:0:{0x8000 + (number << 8):x}::1", 1) for number in range(31)]
    others = [softwire("2001:db8:40:0:9f00::1", 0), softwire("2001:db8:40:0:f000::1", 0)]
    give(there.api, east(), homes(slots=1))
    there.aftrs[0].softwires = on_one + others
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        assert set(there.all_told()) == {"s1"}
        until(lambda: get(there.api, "b4group", "homes")["status"].get("strays") == 2)
        said = get(there.api, "b4group", "homes")["status"]
        assert [(one["slot"], one["told"], one["sessions"], one["softwires"]) for one in said["slots"]] == [
            (0, 0, 0, 2), (1, 32, 32 * 5, 31),
        ]  # fmt: skip
        assert said["straySoftwires"] == [
            {"address": "2001:db8:40:0:9f00::1", "servedBy": 0, "told": 1}, {"address": "2001:db8:40:0:f000::1", "servedBy": 0},
        ]  # fmt: skip
        assert said["renewSeconds"] == 1800


def test_d21_lost_pods_move_no_b4(there: Installation, tmp_path: Path) -> None:
    """Proof 1: whatever serves a slot, its name and option 64 stay; Kea is not even written."""
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there) and get(there.api, "aftrpool", "east")["status"]["readyReplicas"] == 2, 60)
        document = asyncio.run(there.kea.document())
        for one in there.aftrs:
            one.end()
        try:
            until(lambda: get(there.api, "aftrpool", "east")["status"]["readyReplicas"] == 0)
            assert asyncio.run(there.kea.document()) == document
            assert settled(there)
        finally:
            there.aftrs[:] = stood_in(there.api, *SERVED)


def test_o02_names_of_a_pool_that_is_gone_stay_one_lease_longer(there: Installation, tmp_path: Path) -> None:
    """Withdrawn from DHCPv6 first; the zone says when they go: one valid lifetime of Kea's, 7,200 s, later."""
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        assert not any("until=" in line for line in there.dns.records())
        there.api.kubectl("delete", "aftrpool", "east", "-n", "edge")
        until(lambda: there.told(0) is None)
        until(lambda: sum("until=" in line for line in there.dns.records()) == 4, 60)
        for line in there.dns.records():
            if "until=" in line:
                left = datetime.fromisoformat(line.split("until=")[1].rstrip('"')) - datetime.now(UTC)
                assert timedelta(seconds=7100) < left <= timedelta(seconds=7202), line
        assert sum(" AAAA " in line for line in there.dns.records()) == 4


def test_o03_a_slot_is_drained(there: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T1 is shortened ahead, B4s leave one old T1 later, and the old T1 comes back; refused for a slot in use unless told."""
    monkeypatch.setenv("KUBECONFIG", str(there.api.kubeconfig))
    for number in range(32):
        asyncio.run(there.kea.add_lease(number, DUID))
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        until(lambda: sum(one["told"] for one in numbers(there)) == 32)
        assert re.search(r"homes +True +0, 1 +32 ", dslite("status", "east").output.replace("│", " "))
        refused = dslite("drain", "slot", "east/0")
        assert refused.exit_code == 1
        assert "slot east/0 is used by 16 B4s: give --yes to move them" in refused.output
        assert "T1 is 5 min from now on, and 30 min later" in refused.output
        assert there.renew_timer() == 1800
        assert "slot east/0 is drained" in dslite("drain", "slot", "east/0", "--yes").output
        until(lambda: there.renew_timer() == 300)
        assert set(there.all_told()) == {"s0", "s1"}
        assert "16 B4s are told another slot from" in dslite("drain", "slot", "east/0").output

        earlier = (datetime.now(UTC) - timedelta(minutes=31)).isoformat()  # as though half an hour had gone by
        there.api.kubectl("annotate", "aftr", "east", "-n", "edge", "--overwrite", f"{DRAIN_SLOTS}=0={earlier}")
        until(lambda: "s0" not in there.all_told())
        assert there.renew_timer() == 300
        until(lambda: "no B4 of any group is told slot 0" in dslite("drain", "slot", "east/0").output)
        assert "is over" in dslite("drain", "slot", "east/0", "--end").output
        until(lambda: there.renew_timer() == 1800)


def test_o03_a_real_client_follows_at_its_renewal_and_keeps_its_leases(there: Installation, tmp_path: Path) -> None:
    """dhclient behind a relay; its slot is drained (as though an hour ago), and it is told another one within T1."""
    there.renew_every(RENEW_S)
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()), there.network.relay(), dhclient(there.network) as said:
        until(lambda: settled(there) and bool(events(said)) and len(there.leases()) == 2, 60)
        held = there.leases()
        bucket = next(iter(held)).duid[-1]
        slot = there.all_slots()[bucket]
        until(lambda: is_told(said, f"s{slot}.east.{ZONE}"))
        earlier = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        there.api.kubectl("annotate", "aftr", "east", "-n", "edge", f"{DRAIN_SLOTS}={slot}={earlier}")
        until(lambda: there.all_slots()[bucket] != slot)
        began = time.monotonic()
        until(lambda: is_told(said, f"s{there.all_slots()[bucket]}.east.{ZONE}"))
        took = time.monotonic() - began
        print(
            f"Kea {there.kea.version}: a client with a T1 of {RENEW_S} s is told {took:.1f} s after its map has changed"
        )
        assert took < TOLD_S + RENEW_S
        assert there.leases() == held
        assert len({one["prefix"] for one in events(said)} - {""}) == 1


def test_d21_load_is_levelled_when_a_person_asks(
    there: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten buckets of one slot have ten B4s each now; nobody moves for that, until a person says so."""
    monkeypatch.setenv("KUBECONFIG", str(there.api.kubeconfig))
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
    before, full = there.all_slots(), there.all_slots()[0]
    crowded = [bucket for bucket, slot in enumerate(before) if slot == full][:10]
    for number in range(100):
        asyncio.run(there.kea.add_lease(number, DUID, bucket=crowded[number % 10]))
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: any(one["told"] == 100 for one in numbers(there)), 60)
        assert there.all_slots() == before
        assert "load is levelled, at most 10,000 B4s an hour" in dslite("rebalance", "homes").output
        until(lambda: there.all_slots() != before and settled(there))
    events = there.api.kubectl("get", "events", "-n", "edge", "--field-selector=reason=B4sMove").stdout
    assert "B4s are told another slot at" in events
    weights = [10 if bucket in crowded else 1 for bucket in range(256)]
    after = there.all_slots()
    heavier = sum(weight for weight, slot in zip(weights, after, strict=True) if slot == full)
    assert heavier <= 1.1 * sum(weights) / 2
    moved = {bucket for bucket in range(256) if before[bucket] != after[bucket]}
    assert {there.told(bucket) for bucket in moved} == {f"s{1 - full}"}


def test_a_server_that_is_not_there_is_named(there: Installation, tmp_path: Path) -> None:
    """Not even one that is there no more, and whose groups have maps, keeps the groups of others waiting."""
    give(there.api, east(), homes(), homes("shops", "2001:db8:41::/60", str(OTHER)))
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there) and there.says("Provisioned", "shops")[0] == "True", 60)
    lost = homes("shops", "2001:db8:41::/60", str(OTHER))
    lost["spec"]["dhcp"]["server"] = "core"
    give(there.api, lost, homes(slots=1))
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: len(set(there.all_told())) == 1 and settled(there), 60)
        assert there.says("Provisioned", "shops") == (
            "False",
            "spec.dhcp.server: core is not in the chart value dhcp.servers: add it there, or correct the name",
        )


# ---------------------------------------------------------------- what a Kea refuses (proof 4)
def listening_on(there: Installation, place: str) -> None:
    """Kea, on a further interface or address."""
    asyncio.run(there.kea.person(lambda whole: whole["interfaces-config"]["interfaces"].append(place)))


def lost_address(there: Installation) -> Strike:
    there.network.ip("kea-1", "address", "add", f"{SECOND}/64", "dev", "eth0", "nodad")
    listening_on(there, f"eth0/{SECOND}")
    return lambda: there.network.ip("kea-1", "address", "del", f"{SECOND}/64", "dev", "eth0")


def lost_interface(there: Installation) -> Strike:
    there.network.ip("kea-1", "link", "add", "eth9", "type", "bridge")
    there.network.ip("kea-1", "link", "set", "eth9", "up")
    listening_on(there, "eth9")
    return lambda: there.network.ip("kea-1", "link", "del", "eth9")


def foreign_name(there: Installation) -> Strike:
    """A person names another AFTR for the whole subnet, which comes before our classes."""

    def mine(whole: dict[str, Any]) -> None:
        subnet = next(one for one in whole["subnet6"] if one["subnet"] == str(HOMES))
        subnet["option-data"] = [{"name": "aftr-name", "data": "mine.example.net", "always-send": True}]

    return lambda: asyncio.run(there.kea.person(mine))


def reservation(there: Installation) -> Strike:
    """A person's, for the very B4 that we ask as: it comes before all of ours."""

    def mine(whole: dict[str, Any]) -> None:
        subnet = next(one for one in whole["subnet6"] if one["subnet"] == str(HOMES))
        option = [{"name": "aftr-name", "data": "mine.example.net", "always-send": True}]
        subnet["reservations"] = [{"duid": duid_in(0, "last").hex(":"), "option-data": option}]

    return lambda: asyncio.run(there.kea.person(mine))


@pytest.mark.parametrize(
    ("refusal", "words", "told"),
    [
        (lost_address, "refuses config-set: Failed to select interface", {"s0", "s1"}),
        pytest.param(lost_interface, "refuses config-set: Failed to select interface", {"s0", "s1"}, marks=LONG),
        pytest.param(
            foreign_name, "an aftr-name 'mine.example.net' that is not ours", {"mine.example.net"}, marks=LONG
        ),
        pytest.param(reservation, "is told mine.example.net by Kea at", {"s0", "s1", "mine.example.net"}, marks=LONG),
    ],
)
def test_what_kea_refuses_is_said_in_its_words_and_it_serves_on(
    there: Installation, tmp_path: Path, refusal: Callable[[Installation], Strike], words: str, told: set[str]
) -> None:
    """A map that changes, and a Kea that will not have it."""
    strike = refusal(there)
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        assert set(there.all_told()) == {"s0", "s1"}
        strike()
        give(there.api, homes(slots=1))
        until(lambda: words in there.says()[1], 60)
        assert there.says()[0] == "False"
        assert set(there.all_told()) == told
        events = there.api.kubectl("get", "events", "-n", "edge", "--field-selector=reason=ProvisionedRefused").stdout
        assert words in events


@LONG
def test_a_kea_that_lost_its_lease_file_is_named_and_served_from_as_soon_as_it_can(
    there: Installation, tmp_path: Path
) -> None:
    """The one refusal after which it is deaf (docs/dhcp.md)."""
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        with unusable(there.kea.folder / "kea-1.csv"):
            give(there.api, homes(slots=1))
            until(lambda: "Unable to open database" in there.says()[1], 60)
            assert there.says()[0] == "False"
        until(lambda: settled(there), 60)
        assert len(set(there.all_told())) == 1


@LONG
def test_a_kea_that_falls_silent_is_named_until_it_answers_again(there: Installation, tmp_path: Path) -> None:
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        there.network.ip("router", "link", "set", "to-kea-1", "down")
        try:
            until(lambda: "answers none of 3 Information-requests" in there.says()[1], 90)
            assert there.says()[0] == "False"
        finally:
            there.network.ip("router", "link", "set", "to-kea-1", "up")
        until(lambda: settled(there), 60)
        assert set(there.all_told()) == {"s0", "s1"}
