"""Names written to real servers, and read back with dig: what is published, kept, given up and left alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from cut_line import UPDATE, line_to
from dns_servers import ZONE, Server, dns_server
from dslite_operator.distribution.dns.errors import MovedOnError
from dslite_operator.distribution.dns.key import read_key
from dslite_operator.distribution.dns.plan import Use, plan
from dslite_operator.distribution.dns.resolving import resolved
from dslite_operator.distribution.dns.server import Primary
from slot_names import HOUR, MARK, NOW, S0, S1, UNUSED, lines, names, secret_in, wishes


async def test_o02_names_are_published_with_their_owner_and_resolve(server: Server, tmp_path: Path) -> None:
    dns, wanted = names(server, tmp_path), wishes()
    standing = await dns.keep(wanted, UNUSED, NOW)
    assert server.records() == lines(wanted)
    assert standing.resolved == {S0, S1}
    assert resolved([S0, S1], standing).message == "2 names resolve at every server"


async def test_what_is_right_is_left_alone(server: Server, tmp_path: Path) -> None:
    await names(server, tmp_path).keep(wishes(), UNUSED, NOW)
    serial = server.dig(ZONE, "SOA")
    standing = await names(server, tmp_path).keep(wishes(), UNUSED, NOW)
    assert standing.resolved == {S0, S1}
    assert server.dig(ZONE, "SOA") == serial


async def test_damage_to_our_names_is_repaired(server: Server, tmp_path: Path) -> None:
    """An AAAA gone, one too many, another address: what half an update or a person leaves."""
    dns, wanted = names(server, tmp_path), wishes(4)
    await dns.keep(wanted, UNUSED, NOW)
    server.person(
        f"delete {S0} AAAA", f"add {S1} 300 AAAA 2001:db8::bad",
        f"delete s2.east.{ZONE} AAAA", f"add s2.east.{ZONE} 300 AAAA 2001:db8::bad",
    )  # fmt: skip
    assert len(server.records()) == 8
    assert (await dns.keep(wanted, UNUSED, NOW)).resolved == wanted.keys()
    assert server.records() == lines(wanted)


async def test_a_name_stays_one_lease_after_it_was_last_handed_out(server: Server, tmp_path: Path) -> None:
    """Handed out, withdrawn, one valid lifetime later gone; an operator that starts again knows it from the zone."""
    wanted = wishes()
    await names(server, tmp_path).keep(wanted, Use({S0}, HOUR), NOW)
    await names(server, tmp_path).keep({}, Use({S0}, HOUR), NOW + HOUR)
    assert server.records() == sorted(
        [*lines({S0: wanted[S0]}), *lines({S1: wanted[S1]}, until=" until=2026-11-26T03:00:01Z")]
    )
    await names(server, tmp_path).keep({}, Use((), HOUR), NOW + 2 * HOUR)
    assert len(server.records()) == 4
    await names(server, tmp_path).keep({}, Use((), HOUR), NOW + 2 * HOUR + timedelta(seconds=1))
    assert server.records() == lines({S0: wanted[S0]}, until=" until=2026-11-26T04:00:01Z")
    await names(server, tmp_path).keep({}, Use((), HOUR), NOW + 3 * HOUR)
    assert len(server.records()) == 2
    await names(server, tmp_path).keep({}, Use((), HOUR), NOW + 3 * HOUR + timedelta(seconds=1))
    assert server.records() == []


async def test_a_name_wanted_again_stays(server: Server, tmp_path: Path) -> None:
    dns, wanted = names(server, tmp_path), wishes()
    for one, use in ((wanted, UNUSED), ({}, UNUSED), (wanted, UNUSED)):
        await dns.keep(one, use, NOW)
    assert server.records() == lines(wanted)


async def test_nothing_goes_while_it_is_not_known_what_is_handed_out(server: Server, tmp_path: Path) -> None:
    dns, wanted = names(server, tmp_path), wishes()
    await dns.keep(wanted, UNUSED, NOW)
    await dns.keep({}, UNUSED, NOW)
    await dns.keep({}, Use(None, HOUR), NOW + 2 * HOUR)
    assert server.records() == lines(wanted, until=" until=2026-11-26T02:00:01Z")


# ---------------------------------------------------------------- others
async def test_two_installations_leave_each_other_alone(server: Server, tmp_path: Path) -> None:
    """The first has the name, the second says whose it is; neither removes what is the other's."""
    first, second = names(server, tmp_path), names(server, tmp_path, owner="metro-2")
    mine, yours = wishes(), wishes(name="west")
    clash = wishes(softwire={"prefix": "2001:db8:7777::/64", "domain": ZONE})
    await first.keep(mine, UNUSED, NOW)
    standing = await second.keep(clash | yours, UNUSED, NOW)
    verdict = resolved([S0], standing)
    assert (verdict.status, S0 in standing.resolved) == ("False", False)
    assert verdict.message == (
        f"{S0} belongs to the installation metro: it has AAAA 2001:db8:6400::1, "
        f'TXT "{MARK}"; remove that, or take another domain'
    )
    await first.keep(mine, UNUSED, NOW + 9 * HOUR)
    assert server.records() == sorted([*lines(mine), *lines(yours, owner="metro-2")])


async def test_a_record_in_the_way_is_named_and_kept(server: Server, tmp_path: Path) -> None:
    server.person(f"add {S0} 300 A 192.0.2.9")
    standing = await names(server, tmp_path).keep(wishes(), UNUSED, NOW)
    assert standing.wrong == {S0: f"{S0} is not ours: it has A; remove that, or take another domain"}
    assert standing.resolved == {S1}
    assert "s0.east A 192.0.2.9" in server.records()
    assert len(server.records()) == 3
    server.person(f"delete {S0} A")
    assert (await names(server, tmp_path).keep(wishes(), UNUSED, NOW)).resolved == {S0, S1}


async def test_names_that_somebody_else_keeps_right_are_theirs(server: Server, tmp_path: Path) -> None:
    """ExternalDNS or a person: no key of ours, and yet the name may be handed out."""
    for slot, one in enumerate(wishes().values()):
        server.person(f"add s{slot}.east.{ZONE} 300 AAAA {one.address}")
    before = server.records()
    for key in ("tsig", ""):
        assert (await names(server, tmp_path, key=key).keep(wishes(), UNUSED, NOW)).resolved == {S0, S1}
        await names(server, tmp_path, key=key).keep({}, UNUSED, NOW)
    assert server.records() == before


async def test_a_name_taken_between_reading_and_writing_is_not_overwritten(server: Server, tmp_path: Path) -> None:
    wanted, primary = wishes(), Primary(ZONE, server.place, read_key(secret_in(tmp_path) / "tsig"))
    _, held = await primary.transfer()
    server.person(f"add {S1} 300 AAAA 2001:db8::1")
    with pytest.raises(MovedOnError, match="somebody else changed the zone during the update"):
        await primary.change(plan(wanted, held, "metro", UNUSED, NOW).changes)
    assert server.records() == ["s1.east AAAA 2001:db8::1"]
    assert (await names(server, tmp_path).keep(wanted, UNUSED, NOW)).resolved == {S0}


async def test_two_installations_at_the_same_moment(server: Server, tmp_path: Path) -> None:
    """Both want the same names with their own addresses: each name is one's alone, and whole."""
    mine, other = wishes(512), {"prefix": "2001:db8:7777::/64", "domain": ZONE}
    yours = wishes(512, softwire=other)
    first, second = names(server, tmp_path), names(server, tmp_path, owner="metro-2")
    standings = await asyncio.gather(first.keep(mine, UNUSED, NOW), second.keep(yours, UNUSED, NOW))
    ours, theirs = (one.resolved for one in standings)
    assert ours | theirs == mine.keys()
    assert not ours & theirs
    whole = lines({name: mine[name] for name in ours}), lines({name: yours[name] for name in theirs}, owner="metro-2")
    assert server.records() == sorted([*whole[0], *whole[1]])


async def test_a_server_behind_the_primary_must_say_it_too(server: Server, tmp_path: Path) -> None:
    """Another server of the zone that has not heard of it yet: not handed out before it says the same."""
    with dns_server("bind" if server.__class__.__name__ == "Knot" else "knot") as slow:
        dns = names(server, tmp_path, slow)
        standing = await dns.keep(wishes(), UNUSED, NOW)
        assert S0 not in standing.resolved
        assert (
            standing.wrong[S0] == f"{S0}: DNS server {slow.place} says AAAA none, and should say 2001:db8:6400::1 alone"
        )
        slow.person(f"add {S0} 300 AAAA 2001:db8:6400::1", f"add {S1} 300 AAAA 2001:db8:6400::2")
        assert (await dns.keep(wishes(), UNUSED, NOW)).resolved == {S0, S1}


async def test_names_in_no_zone_are_said(server: Server, tmp_path: Path) -> None:
    wanted = wishes(softwire={"prefix": "2001:db8:7777::/64", "domain": "example.org"})
    standing = await names(server, tmp_path).keep(wanted, UNUSED, NOW)
    assert standing.wrong["s0.east.example.org"] == (
        "s0.east.example.org is in no zone of the chart value dns.zones: add its zone"
    )
    assert server.records() == []


SIGNED = {
    "bind": ({"type primary;": "type primary; dnssec-policy default;"}, "next key event"),
    "knot": ({"    acl: [": "    dnssec-signing: on\n    acl: ["}, "successfully signed"),
}


async def test_signatures_are_the_servers_and_in_nobodys_way(kind: str, tmp_path: Path) -> None:
    changed, signs = SIGNED[kind]
    with dns_server(kind, changed) as server:
        server.wait_for(signs)
        async with line_to(server.place) as line:
            wanted = wishes()
            assert (await names(line, tmp_path).keep(wanted, UNUSED, NOW)).resolved == wanted.keys()
            assert {one.split(" ")[3] for one in server.dig(S0, "AAAA", "+dnssec")} == {"AAAA", "RRSIG"}
            assert (await names(line, tmp_path).keep(wanted, UNUSED, NOW)).resolved == wanted.keys()
            assert line.passed.count(UPDATE) == 1
        for hours in (0, 2):
            await names(server, tmp_path).keep({}, Use((), HOUR), NOW + hours * HOUR)
        assert server.dig(S0, "ANY") == []
