"""Random choices of the engine: read from what it sent, and checked to be legal ones.

The reference asks in the order in which frames leave; `at` is the number of the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import packets
from packets import ICMP, IPv4, IPv4Address, IPv6, IPv6Address

NAMES = {packets.TCP: "tcp", packets.UDP: "udp", ICMP: "icmp"}
FlowKey = tuple[object, ...]


@dataclass
class Oracle:
    """`observed`: what the engine sent because of this frame; `bindings`: its table, where a frame does not tell."""

    observed: Sequence[tuple[str, bytes]]
    bindings: Callable[[], list[dict[str, Any]]] | None = None
    complaints: list[str] = field(default_factory=list)

    def packet(self, at: int, side: str) -> IPv4 | IPv6 | None:
        if at >= len(self.observed) or self.observed[at][0] != side:
            return None
        frame = self.observed[at][1]
        if len(frame) < 34:
            return None
        return packets.dissect(frame) if frame[12:14] in (b"\x08\x00", b"\x86\xdd") else None

    def inner(self, at: int) -> IPv4 | None:
        """The IPv4 packet of the frame, from its softwire (of its first fragment) too."""
        found = self.packet(at, "internet") or self.packet(at, "access")
        if isinstance(found, IPv4) or found is None:
            return found
        if found.next_header == packets.IPIP and len(found.payload) >= 28:
            return found.inner
        if found.next_header == packets.FRAGMENT and found.fragment_offset == 0 and len(found.payload) >= 36:
            return IPv4(found.payload[8:])
        return None

    def external(
        self, at: int, sent: IPv4, softwire: IPv6Address, legal: Callable[[IPv4Address], bool]
    ) -> tuple[IPv4Address, int] | None:
        """External endpoint of the new mapping that `sent` opens."""
        found = self.inner(at)
        if found and found.protocol == sent.protocol and legal(found.src) and not found.offset:
            hairpin = self.observed[at][0] == "access"
            same = hairpin or found.dst == sent.dst
            if same and (sent.protocol != ICMP or found.payload[:1] == sent.payload[:1]):
                return found.src, found.sport
        wanted = {
            "softwire": str(softwire),
            "protocol": NAMES[sent.protocol],
            "internalAddress": str(sent.src),
            "internalPort": sent.sport,
        }
        for binding in self.bindings() if self.bindings else []:
            if all(binding[name] == value for name, value in wanted.items()):
                return IPv4Address(binding["externalAddress"]), binding["externalPort"]
        return None

    def identification(self, at: int) -> int | None:
        found = self.inner(at)
        return found.identification if found else None

    def flow_label(self, at: int) -> int:
        found = self.packet(at, "access")
        return found.flow_label if isinstance(found, IPv6) else 0

    def fragment_id(self, at: int) -> int:
        found = self.packet(at, "access")
        return found.fragment_id if isinstance(found, IPv6) and found.next_header == packets.FRAGMENT else 0

    def free_header(self, at: int) -> dict[str, Any]:
        """Fields of an originated ICMP message that no requirement fixes."""
        found = self.inner(at)
        if found is None:
            return {"tos": 0, "identification": 0, "df": False}
        return {"tos": found.tos & ~3, "identification": found.identification, "df": found.df}
