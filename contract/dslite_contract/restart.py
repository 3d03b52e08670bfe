"""Which changes an AFTR can follow while it runs, and which take a new process: asked by the AFTR, and by the operator before it."""

from __future__ import annotations

from ipaddress import IPv4Network

from dslite_contract.changes import Change, changes
from dslite_contract.load import Configuration
from dslite_contract.tables import external_ranges

LAYOUT = ("spec.nat.pools", "spec.nat.bypass", "spec.nat.noTranslationDestinations", "spec.nat.preAuthorizedSources")
IN_PLACE = ("interface",)  # fields of a NAT pool that open slots can follow
PORT_BLOCKS = "spec.nat.portBlock.size"
STORES = ("spec.store", "spec.store.embedded", "spec.store.secretRef")  # which store: another one knows no binding
ENDS_ALL = (PORT_BLOCKS, *STORES)  # changes that no mapping outlives


def in_running_order(running: Configuration, wanted: Configuration) -> Configuration:
    """`wanted` with the entries of lists that number a slot's external addresses in the order in which they run.

    Their order says nothing to people, and much to an open slot.
    """
    old, new = running.pool.spec.nat, wanted.pool.spec.nat
    prefixes = {pool.name: pool.prefixes for pool in old.pools}
    pools = [
        pool.model_copy(update={"prefixes": ordered(pool.prefixes, prefixes.get(pool.name, ()))}) for pool in new.pools
    ]
    names = [pool.name for pool in old.pools]
    pools.sort(key=lambda pool: names.index(pool.name) if pool.name in names else len(names))
    sources = ordered(new.pre_authorized_sources, old.pre_authorized_sources)
    nat = new.model_copy(update={"pools": tuple(pools), "pre_authorized_sources": sources})
    spec = wanted.pool.spec.model_copy(update={"nat": nat})
    return Configuration(wanted.pool.model_copy(update={"spec": spec}), wanted.groups)


def ordered(entries: tuple[IPv4Network, ...], like: tuple[IPv4Network, ...]) -> tuple[IPv4Network, ...]:
    """Entries in the order of `like`, new ones after them."""
    return tuple(sorted(entries, key=lambda entry: like.index(entry) if entry in like else len(like)))


def alters_layout(change: Change, running: Configuration, wanted: Configuration) -> bool:
    """Whether a change needs slots with other external addresses or other port blocks."""
    if change.path == PORT_BLOCKS:
        return True
    if change.path.rpartition(".")[2] in IN_PLACE:
        return False
    return change.path.startswith(LAYOUT) and external_ranges(running) != external_ranges(wanted)


def needs_restart(running: Configuration, wanted: Configuration) -> list[Change]:
    """The changes that take a new process: of class rolling or immutable, or moving external addresses or port blocks."""
    return [
        change
        for change in changes(running, wanted)
        if change.kind in ("rolling", "immutable") or alters_layout(change, running, wanted)
    ]
