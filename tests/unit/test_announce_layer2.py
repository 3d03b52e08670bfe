"""What neighbours are told unasked: frames, which of them, and when; nothing once the slot is somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import packets
from aftr.announce import layer2
from aftr.announce.claims import advertisement, arp_announcement, frames
from aftr.announce.errors import AnnounceError
from aftr.announce.layer2 import BATCH, DEFEND_S, REFRESH_S, Announced, Layer2Announcer
from dslite_contract.load import Configuration, load_config
from packets import ENGINE_MAC, ETHERTYPE_ARP, eth, mac
from rig import config_text

ACCESS_STATION, OTHER_STATION = mac(ENGINE_MAC), mac("02:00:00:00:00:0b")
NOBODY, BROADCAST = "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"
SIDES = {"access": "access", "internet": "internet", "exchange": "internet"}
DEVICES = {name: f"no-{name}" for name in SIDES}


def configuration(**nat: Any) -> Configuration:
    pools = [
        {"name": "default", "prefixes": ["192.0.2.0/28"]},
        {"name": "other", "prefixes": ["198.51.100.0/31"], "interface": "exchange"},
    ]
    interfaces = [{"name": name, "side": side, "podNetwork": {}} for name, side in SIDES.items()]
    return load_config(
        config_text({"slots": 2, "routing": {"layer2": {}}, "interfaces": interfaces, "nat": {"pools": pools, **nat}})
    )


# ------------------------------------------------------------------------------------------------ frames
def test_an_unsolicited_advertisement_overrides_and_answers_nobody() -> None:
    address = packets.v6("2001:db8:64::5")
    expected = packets.advertisement(address, flags=1 << 29, options=packets.link_option(2, ENGINE_MAC))
    assert advertisement(address, ACCESS_STATION) == eth(expected, dst="33:33:00:00:00:01", src=ENGINE_MAC)


def test_an_arp_announcement_asks_for_its_own_address() -> None:
    """RFC 5227 section 2.3: a request, with sender and target alike."""
    expected = packets.arp(1, ENGINE_MAC, "192.0.2.7", NOBODY, "192.0.2.7")
    found = arp_announcement(packets.v4("192.0.2.7"), ACCESS_STATION)
    assert found == eth(expected, dst=BROADCAST, src=ENGINE_MAC, ethertype=ETHERTYPE_ARP)


def test_each_address_of_a_slot_is_told_on_its_interface_the_tunnel_address_first() -> None:
    bypass = [{"b4": "2001:db8:1000::/56", "address": "203.0.113.9", "port": 5060, "protocol": "udp", "slot": 1}]
    stations = {"access": ACCESS_STATION, "internet": OTHER_STATION, "exchange": ACCESS_STATION}
    pool = configuration(bypass=bypass).pool
    found = list(frames(pool, 1, SIDES, stations, with_arp=True))
    assert found[0] == ("access", advertisement(packets.v6("2001:db8:64::2"), ACCESS_STATION))
    external = [f"192.0.2.{number}" for number in range(8, 16)]
    assert found[1:9] == [("internet", arp_announcement(packets.v4(one), OTHER_STATION)) for one in external]
    assert found[9:] == [
        ("exchange", arp_announcement(packets.v4("198.51.100.1"), ACCESS_STATION)),
        ("internet", arp_announcement(packets.v4("203.0.113.9"), OTHER_STATION)),
    ]
    assert list(frames(pool, 1, SIDES, stations, with_arp=False)) == found[:1]


# ------------------------------------------------------------------------------------------------ when
def test_rounds_are_those_of_the_rfcs_and_then_go_on() -> None:
    """RFC 4861 section 10: three advertisements, a second apart; RFC 5227 section 1.1: two ARP announcements, two seconds apart."""
    slot, told = Announced(1, 0, due=1.0), []
    while slot.due < 2 * REFRESH_S:
        told.append((slot.due, slot.next_round(slot.due)))
    assert told == [(1.0, False), (2.0, True), (2.0 + REFRESH_S, True)]


class Wire:
    """An announcer whose frames are counted instead of sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[str] = []
        self.owned, self.claims, self.said = True, 0, list[str]()
        self.on_send: Callable[[], None] = lambda: None
        monkeypatch.setattr(layer2, "_opened", self.opened)
        monkeypatch.setattr(layer2, "_send", self.send)
        self.announcer = Layer2Announcer(
            configuration(),
            DEVICES,
            SIDES,
            owns=lambda _: self.owned,
            claims=lambda _: self.claims,
            say=self.said.append,
        )

    def opened(self, devices: dict[str, str]) -> Any:
        import contextlib
        from types import SimpleNamespace

        return contextlib.nullcontext({
            name: SimpleNamespace(getsockname=lambda: ("", 0, 0, 1, ACCESS_STATION)) for name in devices
        })  # fmt: skip

    async def send(self, _: Any, frame: bytes, device: str) -> None:
        self.on_send()
        self.sent.append(device)

    async def look(self, now: float) -> int:
        """How many frames a look at slot 0 sends."""
        before = len(self.sent)
        await self.announcer._look(0, self.announcer._slots[0], now)
        return len(self.sent) - before


ALL = 1 + 8 + 1  # frames of a slot


def test_a_slot_is_told_of_at_once_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        wire = Wire(monkeypatch)
        await wire.announcer.announce(0, 7)
        assert (len(wire.sent), wire.announcer.announced) == (ALL, {0: 7})
        begin = wire.announcer._slots[0].due - 1.0
        assert [await wire.look(begin + after) for after in (0.5, 1.0, 1.5, 2.0, 31.9, 32.0)] == [0, 1, 0, ALL, 0, ALL]
        await wire.announcer.withdraw(0)
        await wire.announcer.withdraw(0)
        assert wire.announcer.announced == {}

    asyncio.run(play())


def test_a_claim_of_another_station_is_answered_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        wire = Wire(monkeypatch)
        wire.claims = 5  # of an earlier owner
        await wire.announcer.announce(0, 1)
        now = wire.announcer._slots[0].due - 1.0
        assert await wire.look(now) == 0
        wire.claims += 1
        assert [await wire.look(now), await wire.look(now)] == [ALL, 0]
        wire.claims += 3
        assert [await wire.look(now + DEFEND_S * share) for share in (0.5, 0.99)] == [0, 0]
        assert await wire.look(now + DEFEND_S) > 0
        assert wire.said == ["another station claims an address of slot 0: announcing it again"]

    asyncio.run(play())


def test_nothing_is_said_of_a_slot_that_is_no_longer_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an AFTR that stood still finds when it goes on: neither a round that is due, nor a claim, nor the rest of a telling."""

    async def play() -> None:
        wire = Wire(monkeypatch)
        await wire.announcer.announce(0, 1)
        wire.owned, wire.claims = False, 1
        due = wire.announcer._slots[0].due
        assert [await wire.look(due), await wire.look(due + 0.5)] == [0, 0]
        assert wire.said == []
        wire.owned = True  # it was frozen, and stays
        assert [await wire.look(due + 0.6), await wire.look(due + 0.7)] == [1, ALL]
        assert len(wire.said) == 1

    asyncio.run(play())


def test_the_lease_is_looked_at_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        wire = Wire(monkeypatch)
        wire.announcer._pool = load_config(
            config_text(
                {
                    "slots": 1,
                    "routing": {"layer2": {}},
                    "nat": {"pools": [{"name": "default", "prefixes": ["192.0.2.0/24"]}]},
                }
            )
        ).pool

        def end() -> None:
            wire.owned = len(wire.sent) < 10

        wire.on_send = end
        await wire.announcer.announce(0, 1)
        assert len(wire.sent) == BATCH

    asyncio.run(play())


def test_a_device_that_is_gone_is_named() -> None:
    async def play() -> None:
        announcer = Layer2Announcer(configuration(), DEVICES, SIDES, owns=lambda _: True, claims=lambda _: 0)
        assert not await announcer.linked()
        here = Layer2Announcer(configuration(), {"access": "lo"}, SIDES, owns=lambda _: True, claims=lambda _: 0)
        assert await here.linked()
        with pytest.raises(AnnounceError, match="interface access: nothing can be sent on no-access: "):
            await announcer.announce(0, 1)

    asyncio.run(play())
