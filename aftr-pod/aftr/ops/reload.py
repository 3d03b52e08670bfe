"""A changed configuration file: applied as it stands, or refused with every reason.

No session is dropped by a change, unless the pool has `allowDisruption`.

`decide` asks what each change needs (the classes of `dslite_contract.changes`) and how many mappings would end:
  [live]      applied, unless it would end a mapping (B4s that no group or another NAT pool would serve)
  [drain]     applied once nothing depends on the old value any more
  [rolling]   refused: the process must be started again; so must it for whatever changes an open slot's layout
  [immutable] refused
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Address
from pathlib import Path
from typing import Any

import numpy as np

from aftr.ops.snapshot import live_mappings
from aftr.ops.tables import Rows, ipv6
from aftr.state.layout import BYPASSED
from aftr.state.pod import Pod
from dslite_contract.changes import Change, changes
from dslite_contract.load import Configuration, load_config
from dslite_contract.restart import ENDS_ALL, alters_layout, in_running_order
from dslite_contract.schema import Bypass, effective_subscriber_mask

MappingsLost = Callable[[Configuration, Configuration], int]


@dataclass(frozen=True)
class Apply:
    """Put this configuration into force; `changes` is empty when nothing differs."""

    configuration: Configuration
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Refusal:
    """Keep what runs; a sentence for each change that stands in the way, and one about the mappings that would be lost."""

    sentences: tuple[str, ...]


def decide(running: Configuration, new: Configuration | Path, mappings_lost: MappingsLost) -> Apply | Refusal:
    """Whether a new configuration may be put into force.  Raises ConfigurationError when the file is wrong in itself."""
    wanted = in_running_order(running, load_config(new) if isinstance(new, Path) else new)
    found = tuple(changes(running, wanted))
    if not found:
        return Apply(wanted, ())
    lost = mappings_lost(running, wanted)
    ending = f"{count_of(lost)} would be lost: nothing was changed"
    sentences = [sentence for change in found if (sentence := restart_reason(change, running, wanted))]
    if sentences:
        return Refusal((*sentences, ending) if lost else tuple(sentences))
    if not lost or wanted.pool.spec.allow_disruption:
        return Apply(wanted, found)
    suspects = [change for change in found if may_end_mappings(change)] or list(found)
    reason = "these B4s must be served as before until their mappings have ended"
    return Refusal((*map(str, suspects), f"{reason}; {ending}"))


def count_of(number: int) -> str:
    """A number of mappings, in words."""
    return "1 live mapping" if number == 1 else f"{number} live mappings"


def restart_reason(change: Change, running: Configuration, wanted: Configuration) -> str | None:
    """Why a change cannot be made while this process runs, None if it can."""
    if change.kind == "immutable":
        return f"{change}: it never changes: make a new object"
    if change.kind == "rolling":
        return f"{change}: start the process again"
    if alters_layout(change, running, wanted):
        place = replace(change, kind="rolling")
        return f"{place}: an open slot keeps its external addresses and port blocks: start the process again"
    return None


def may_end_mappings(change: Change) -> bool:
    """Whether a change may end mappings: of class drain, or B4s come to another group or to none."""
    return change.kind == "drain" or change.path.startswith(("spec.prefixes[", "spec.nat.bypass["))


# ---------------------------------------------------------------- how many mappings
def mappings_lost(pod: Pod, running: Configuration, wanted: Configuration) -> int:
    """How many live mappings of a pod would end if `wanted` took the place of `running`.

    All of them if port blocks are cut anew, if another store takes the place of theirs, or if only a restart can do it and no store
    keeps them meanwhile.
    """
    found = changes(running, wanted)
    restart = any(change.kind in ("rolling", "immutable") or alters_layout(change, running, wanted) for change in found)
    everything = (restart and wanted.pool.spec.store is None) or any(change.path in ENDS_ALL for change in found)
    return sum(
        len(piece) if everything else int(ending(piece, softwires, running, wanted).sum())
        for slot in pod.open_slots
        for piece, softwires in live_mappings(pod, pod.slot(slot))
    )


def ending(piece: Rows, softwires: Rows, running: Configuration, wanted: Configuration) -> Any:
    """Which mappings would end: their B4 is served otherwise, their inner source is refused, or their bypass is gone."""
    places, which = np.unique(np.stack([softwires["hi"], softwires["lo"]], axis=1), axis=0, return_inverse=True)
    before, after = Service(running), Service(wanted)
    moved = np.array([differs(ipv6(hi, lo), before, after) for hi, lo in places], bool)
    ends = moved[which.reshape(-1)] if len(piece) else np.zeros(0, bool)
    old, new = running.pool.spec.nat, wanted.pool.spec.nat
    ends |= homeless(piece, wanted)
    ends |= covered(piece, old.pre_authorized_sources) & ~covered(piece, new.pre_authorized_sources)
    if set(old.bypass) - set(new.bypass):
        ends |= bypassed_by(piece, old.bypass) & ~bypassed_by(piece, new.bypass)
    if old.no_translation_destinations != new.no_translation_destinations:
        ends |= (piece["flags"] & BYPASSED) != 0
    return ends


def homeless(piece: Rows, wanted: Configuration) -> Any:
    """Which translated mappings have an external address that no NAT pool has any more."""
    result = (piece["flags"] & BYPASSED) == 0
    for pool in wanted.pool.spec.nat.pools:
        for prefix in pool.prefixes:
            mask = np.uint32(int(prefix.netmask))
            result &= piece["external_address"] & mask != np.uint32(int(prefix.network_address))
    return result


def covered(piece: Rows, prefixes: Sequence[IPv4Network]) -> Any:
    """Which mappings have their inner address in one of the prefixes."""
    result = np.zeros(len(piece), bool)
    for prefix in prefixes:
        result |= piece["internal_address"] & np.uint32(int(prefix.netmask)) == np.uint32(int(prefix.network_address))
    return result


def bypassed_by(piece: Rows, entries: Sequence[Bypass]) -> Any:
    """Which mappings are of an endpoint that passes untranslated by an entry."""
    result = np.zeros(len(piece), bool)
    for entry in entries:
        protocol = 6 if entry.protocol == "tcp" else 17
        same = (piece["internal_address"] == int(entry.address)) & (piece["internal_port"] == entry.port)
        result |= same & (piece["protocol"] == protocol) & ((piece["flags"] & BYPASSED) != 0)
    return result


class Service:
    """Which B4Group serves a B4 (the longest prefix wins), and what of it mappings depend on."""

    def __init__(self, configuration: Configuration) -> None:
        self._by_length: dict[int, dict[int, tuple[str, int]]] = {}
        for group in configuration.groups:
            served = group.spec.nat_pool, effective_subscriber_mask(configuration.pool, group)
            for prefix in group.spec.prefixes:
                self._by_length.setdefault(prefix.prefixlen, {})[int(prefix.network_address)] = served
        self._lengths = sorted(self._by_length, reverse=True)

    def of(self, address: IPv6Address) -> tuple[str, int] | None:
        """(NAT pool, subscriber mask) of a B4, None when no group has it."""
        for length in self._lengths:
            network = int(address) >> (128 - length) << (128 - length)
            if network in self._by_length[length]:
                return self._by_length[length][network]
        return None


def differs(address: IPv6Address, before: Service, after: Service) -> bool:
    """Whether a B4's mappings cannot go on."""
    return before.of(address) != after.of(address)
