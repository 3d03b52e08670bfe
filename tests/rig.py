"""A test's AFTR: an engine without devices, its clock, and its books, which are checked after every step.

`Rig.up` sends an inner IPv4 packet through a softwire, `Rig.down` an IPv4 packet from the internet; both return what
came out as (side, frame).  `Rig.counted` says what must have been counted since it was last asked, to the last frame.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

import packets
from packets import ICMP, V4, V6, IPv4, IPv4Address, IPv6, Segment, Side

Output = tuple[str, bytes]

AFTR = "2001:db8:64::1"  # slot 0
SERVER = "198.51.100.1"
HOST = "10.0.0.1"
SIDES = ("access", "internet")
TRAFFIC = ("rx", "forwarded", "merged", "consumed", "dropped", "held", "tx", "split", "originated")
SECOND = 1_000_000_000

POOL: dict[str, Any] = {
    "apiVersion": "dslite.dev/v1alpha1",
    "kind": "AftrPool",
    "metadata": {"name": "test"},
    "spec": {
        "slots": 1,
        "softwire": {"prefix": "2001:db8:64::/64", "domain": "aftr.example.net"},
        "nat": {"pools": [{"name": "default", "prefixes": ["192.0.2.0/28"]}]},
        "capacity": {"mappingsPerSlot": 8192, "extraSessionsPerSlot": 4096, "subscribersPerSlot": 1024},
    },
}
GROUP: dict[str, Any] = {
    "apiVersion": "dslite.dev/v1alpha1",
    "kind": "B4Group",
    "metadata": {"name": "homes"},
    "spec": {"poolRef": {"name": "test"}, "prefixes": ["2001:db8:1000::/40"]},
}


def b4(subscriber: int = 1, host: int = 1) -> str:
    """A B4's tunnel address: the /56 of a subscriber, and an interface in its first /64."""
    return str(packets.v6(int(packets.v6("2001:db8:1000::")) + (subscriber << 72) + host))


B4 = b4(1)


def slot_address(slot: int) -> str:
    return str(packets.v6("2001:db8:64::") + slot + 1)


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the leaves of `over`; lists are replaced."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def group(name: str, prefix: str | Sequence[str], **spec: Any) -> dict[str, Any]:
    prefixes = [prefix] if isinstance(prefix, str) else list(prefix)
    return merged(GROUP, {"metadata": {"name": name}, "spec": {"prefixes": prefixes, **spec}})


def config_text(spec: dict[str, Any] | None = None, groups: list[dict[str, Any]] | None = None) -> str:
    """The YAML of a pool and its groups: the test's defaults with `spec` over them."""
    documents = [merged(POOL, {"spec": spec or {}}), *(groups or [GROUP])]
    return yaml.safe_dump_all(documents)


@cache
def _configuration(text: str) -> Any:
    from dslite_contract.load import load_config

    return load_config(text, ignore=("interfaces", "store"))


@dataclass(frozen=True)
class Endpoint:
    address: IPv4Address
    port: int


class Rig:
    def __init__(self, text: str, *, seed: int = 0, workers: int = 1, start: float = 10_000.0) -> None:
        from aftr.ops.engine import Engine

        self.text = text
        self.spec = yaml.safe_load(text.split("---", maxsplit=1)[0])["spec"]
        self.engine: Any = Engine(_configuration(text), seed=seed, workers=workers)
        self.now = int(start * SECOND)
        self.last = self.engine.counters()

    @property
    def engine_is_compiled(self) -> bool:
        return os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")

    # ------------------------------------------------------------------------------------------ drive
    def step(self, frames: list[tuple[Side, bytes]]) -> list[list[Output]]:
        """One burst; the books are checked after it."""
        result: list[list[Output]] = self.engine.process(frames, self.now)
        assert len(result) == len(frames)
        self.check_books()
        return result

    def send(self, side: Side, frame: bytes) -> list[Output]:
        return self.step([(side, frame)])[0]

    def wait(self, seconds: float) -> None:
        """Let time pass, with a step at its end; seconds may have three decimals.  What time itself sent: `timed`."""
        self.now += round(seconds * 1000) * 1_000_000
        self.step([])

    @property
    def timed(self) -> list[Output]:
        """Frames that the last step sent because of its time."""
        return list(self.engine.timed)

    def up6(self, packet: bytes) -> list[Output]:
        return self.send("access", packets.eth(packet))

    def up(
        self,
        inner: bytes,
        *,
        b4: V6 = B4,
        slot: int = 0,
        tc: int = 0,
        before: bytes = b"",
        next_header: int = packets.IPIP,
    ) -> list[Output]:
        """An inner IPv4 packet from a B4; `before` are extension headers, the first being `next_header`."""
        return self.up6(
            packets.ipv6(
                before + inner,
                src=b4,
                dst=slot_address(slot),
                traffic_class=tc,
                next_header=next_header,
                flow_label=0x5A5A5,
            )
        )

    def down(self, packet: bytes) -> list[Output]:
        return self.send("internet", packets.eth(packet))

    # ------------------------------------------------------------------------------------------ what came out
    def to_softwire(self, inner: bytes, like: Sequence[Output], *, b4: V6 = B4, slot: int = 0) -> Output:
        """The frame that carries `inner` to a B4; the flow label, being random, is taken from `like`."""
        assert len(like) == 1, f"{len(like)} frames came out: {[side for side, _ in like]}"
        assert like[0][0] == "access", like[0][0]
        label = IPv6(like[0][1][14:]).flow_label
        return packets.sent_to_access(
            packets.ipv6(inner, src=slot_address(slot), dst=b4, traffic_class=inner[1], flow_label=label)
        )

    def endpoint(self, outputs: Sequence[Output]) -> Endpoint:
        """External endpoint that a translated packet came from, checked to be a legal one."""
        packet = one(outputs, "internet")
        found = Endpoint(packet.src, packet.sport)
        self.check_endpoint(found)
        return found

    def check_endpoint(self, endpoint: Endpoint, slot: int | None = None) -> None:
        networks = slot_networks(self.spec, slot if self.spec["slots"] > 1 else None)
        assert any(endpoint.address in network for network in networks), endpoint
        assert 1024 <= endpoint.port <= 65535

    def open(
        self, body: Segment, *, src: V4 = HOST, dst: V4 = SERVER, b4: V6 = B4, slot: int = 0, **fields: Any
    ) -> Endpoint:
        """Send `body` from inside, and say from which external endpoint it left."""
        return self.endpoint(self.up(packets.ipv4(body, src=src, dst=dst, **fields), b4=b4, slot=slot))

    # ------------------------------------------------------------------------------------------ books
    def check_books(self) -> None:
        counters = self.engine.counters()
        for side in SIDES:
            count = counters[side]
            parts = {name: count[name] for name in ("forwarded", "merged", "consumed", "dropped", "held")}
            assert count["rx"] == sum(parts.values()), f"{side}: rx = {count['rx']}, but {parts}"
        total = {name: sum(counters[side][name] for side in SIDES) for name in TRAFFIC}
        assert total["tx"] == total["forwarded"] + total["split"] + total["originated"], total
        assert total["dropped"] == sum(counters["drops"].values()), (total, counters["drops"])

    def since(self) -> dict[str, dict[str, int]]:
        """What was counted since the last call, zeroes left out."""
        now = self.engine.counters()
        result = {
            part: {
                name: value - self.last[part].get(name, 0)
                for name, value in now[part].items()
                if value != self.last[part].get(name, 0)
            }
            for part in ("access", "internet", "drops", "events")
        }
        self.last = now
        return result

    def counted(
        self,
        *,
        access: dict[str, int] | None = None,
        internet: dict[str, int] | None = None,
        drops: dict[str, int] | None = None,
        events: dict[str, int] | None = None,
    ) -> None:
        """Since the last call exactly this traffic and these drops, and of the events named exactly so many."""
        found = self.since()
        for part, expected in (("access", access), ("internet", internet), ("drops", drops)):
            assert found[part] == {k: v for k, v in (expected or {}).items() if v}, f"{part}: {found}"
        for name, number in (events or {}).items():
            assert found["events"].get(name, 0) == number, f"{name}: {found}"

    def was_forwarded(self, side: Side, number: int = 1, events: dict[str, int] | None = None) -> None:
        """`number` frames from `side` crossed, one frame each."""
        crossed = {"rx": number, "forwarded": number}
        if side == "access":
            self.counted(access=crossed, internet={"tx": number}, events=events)
        else:
            self.counted(internet=crossed, access={"tx": number}, events=events)

    def was_dropped(
        self, side: Side, name: str, number: int = 1, *, answered: int = 0, events: dict[str, int] | None = None
    ) -> None:
        """`number` frames from `side` were dropped for one reason, `answered` of them by an ICMP error to their source."""
        count = {"rx": number, "dropped": number, "originated": answered, "tx": answered}
        if side == "access":
            self.counted(access=count, drops={name: number}, events=events)
        else:
            self.counted(internet=count, drops={name: number}, events=events)

    def was_consumed(self, side: Side, number: int = 1, *, answered: int = 0) -> None:
        count = {"rx": number, "consumed": number, "originated": answered, "tx": answered}
        self.counted(access=count) if side == "access" else self.counted(internet=count)

    def close(self) -> None:
        self.check_books()
        problems = self.engine.check()
        self.engine.close()
        assert problems == []


Boot = Callable[..., Rig]


def slot_networks(spec: dict[str, Any], slot: int | None = None) -> list[packets.IPv4Network]:
    """IPv4 networks of a pod (or of one slot): each prefix of a pool is divided equally among the slots that carry it."""
    networks = []
    for pool in spec["nat"]["pools"]:
        carriers = pool_slots(pool, spec["slots"])
        for prefix in pool["prefixes"]:
            network = packets.IPv4Network(prefix)
            parts = list(network.subnets(len(carriers).bit_length() - 1))
            networks += [part for number, part in zip(carriers, parts, strict=True) if slot in (None, number)]
    return networks


def pool_slots(pool: dict[str, Any], slots: int) -> list[int]:
    text = str(pool.get("slots", f"0-{slots - 1}"))
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def one(outputs: Sequence[Output], side: Side) -> IPv4:
    """The IPv4 packet in the only frame that came out, out of its softwire on the access side."""
    assert len(outputs) == 1, f"{len(outputs)} frames came out: {[where for where, _ in outputs]}"
    assert outputs[0][0] == side
    return inner_of(outputs[0])


def inner_of(output: Output) -> IPv4:
    packet = packets.dissect(output[1])
    return packet.inner if isinstance(packet, IPv6) else packet


def free_header(packet: IPv4) -> dict[str, Any]:
    """Fields of an originated packet's IPv4 header that no requirement fixes: type of service, identification, DF."""
    assert packet.tos & 3 == 0, "an ICMP error is not ECN capable"
    return {"tos": packet.tos, "identification": packet.identification, "df": packet.df}


def icmp_error(
    like: Sequence[Output], kind: int, code: int, quote: bytes, *, src: V4, dst: V4, rest: int = 0, side: Side
) -> IPv4:
    """The ICMPv4 error that must be the only output: all of it rebuilt, except what `free_header` names."""
    found = one(like, side)
    body = packets.icmp4(kind, code, rest, quote[: 576 - 28])
    expected = packets.ipv4(body, src=src, dst=dst, ttl=64, **free_header(found))
    assert found.raw == expected, f"\n{found.raw.hex()}\n{expected.hex()}"
    return found


def refused(rig: Rig, like: Sequence[Output], kind: int, code: int, quote: bytes, *, rest: int = 0, b4: V6 = B4,
            slot: int = 0) -> None:  # fmt: skip
    """An ICMPv4 error from 192.0.0.1 into the softwire that `quote` came from, every field of the outer header too."""
    found = icmp_error(like, kind, code, quote, src="192.0.0.1", dst=IPv4(quote).src, rest=rest, side="access")
    assert like[0] == rig.to_softwire(found.raw, like, b4=b4, slot=slot)


def translated(packet: bytes, endpoint: Endpoint, body: Segment, *, identification: int | None = None) -> bytes:
    """`packet` as it leaves to the internet: source `endpoint`, TTL one less, transport `body` (built with its port)."""
    header = IPv4(packet)
    return packets.ipv4(
        body,
        src=endpoint.address,
        dst=header.dst,
        ttl=header.ttl - 1,
        tos=header.tos,
        identification=header.identification if identification is None else identification,
        df=header.df,
        options=header.header[20:],
    )


__all__ = [
    "AFTR", "B4", "GROUP", "HOST", "ICMP", "POOL", "SERVER", "Boot", "Endpoint", "Output", "Rig", "b4", "config_text",
    "free_header", "group", "icmp_error", "inner_of", "merged", "one", "refused", "slot_address", "slot_networks",
    "translated",
]  # fmt: skip
