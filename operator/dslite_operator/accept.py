"""Which configuration is in force: what the objects ask for, as far as it is right, free, and ends no live mapping.  Pure.

An object that is refused keeps what was accepted of it before; others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dslite_contract.changes import Change, changes
from dslite_contract.load import Configuration
from dslite_contract.restart import STORES, in_running_order
from dslite_contract.rules import autoscaling_rules, group_problems, owner_name, pool_problems, store_rules
from dslite_contract.schema import AftrPool, AftrPoolSpec, B4Group
from dslite_operator.claims import Holder, Refused
from dslite_operator.names import Key

Lines = tuple[str, ...]

NO_INTERFACES = "spec.interfaces: missing: a pod's devices, such as {name: access, side: both, podNetwork: {}}"


@dataclass(frozen=True)
class Asked:
    """One object as it was read: the model, or the lines that say what is wrong."""

    name: str
    model: AftrPool | B4Group | None
    wrong: Lines = ()


@dataclass(frozen=True)
class Proposal:
    """`configuration` may come into force (None: nothing can); `refusals` by owner ("AftrPool east"); `kept`: groups that
    were deleted, whose mappings have not ended.
    """

    configuration: Configuration | None
    refusals: Mapping[str, Lines] = field(default_factory=dict)
    kept: Lines = ()


def propose(
    key: Key,
    running: Configuration | None,
    pool: Asked,
    groups: Sequence[Asked],
    refused: Mapping[Holder, Sequence[Refused]],
) -> Proposal:
    """What may come into force, but for the mappings that it might end."""
    refusals: dict[str, Lines] = {}
    accepted = accept_pool(key, running, pool, refused, refusals)
    if accepted is None:
        return Proposal(None, refusals)
    before = {group.metadata.name: group for group in running.groups} if running else {}
    taken = accept_groups(key, accepted, before, groups, refused, refusals)
    wanted = Configuration(accepted, tuple(sorted(taken, key=lambda group: str(group.metadata.name))))
    return Proposal(in_running_order(running, wanted) if running else wanted, refusals)


def accept_pool(
    key: Key,
    running: Configuration | None,
    pool: Asked,
    refused: Mapping[Holder, Sequence[Refused]],
    refusals: dict[str, Lines],
) -> AftrPool | None:
    """The pool as it is in force: as asked for, else as it was; why not goes to `refusals`."""
    wrong, wanted = pool.wrong, pool.model
    if isinstance(wanted, AftrPool):
        wrong = tuple(problem.line for problem in pool_problems(wanted))
        wrong += tuple(kubernetes_lines(wanted))
        wrong += tuple(one.line for one in refused.get(Holder("AftrPool", *key), ()))
        wrong += tuple(immutable_lines(running, wanted)) if running else ()
        if not wrong:
            return wanted
    refusals[owner_name("AftrPool", key.name)] = wrong
    return running.pool if running else None


def kubernetes_lines(pool: AftrPool) -> Iterator[str]:
    """What only pods need: devices by name, and one interface of their own at most."""
    if not pool.spec.interfaces:
        yield NO_INTERFACES
    own = [number for number, interface in enumerate(pool.spec.interfaces) if interface.pod_network is not None]
    for number in own[1:]:
        yield f"spec.interfaces[{number}]: podNetwork is spec.interfaces[{own[0]}] already: a pod has one interface of its own"


def immutable_lines(running: Configuration, wanted: AftrPool) -> list[str]:
    """Fields that never change, and have."""
    found = changes(running, Configuration(wanted, running.groups))
    return [
        f"{change.path}: it never changes: make a new object"
        for change in found
        if change.kind == "immutable" and change.path.startswith("spec.")
    ]


def accept_groups(
    key: Key, pool: AftrPool, before: Mapping[str, B4Group], groups: Sequence[Asked],
    refused: Mapping[Holder, Sequence[Refused]], refusals: dict[str, Lines],
) -> list[B4Group]:  # fmt: skip
    """The groups that are in force.  Those that stay as they are come first: what they keep is nobody else's."""
    stay = set[str]()
    while True:
        taken, said = list[B4Group](), dict[str, Lines]()
        for group in sorted(groups, key=lambda group: (group.name not in stay, group.name)):
            found = accept_group(key, pool, before.get(group.name), group, taken, refused, said)
            taken += [found] if found else []
        staying = {name for name in before if owner_name("B4Group", name) in said}
        if staying <= stay:
            refusals |= said
            return taken
        stay |= staying


def accept_group(
    key: Key, pool: AftrPool, before: B4Group | None, group: Asked, taken: Sequence[B4Group],
    refused: Mapping[Holder, Sequence[Refused]], refusals: dict[str, Lines],
) -> B4Group | None:  # fmt: skip
    """A group as it is in force: as asked for, else as it was, if it fits this pool and the groups taken before it."""
    owner, wrong = owner_name("B4Group", group.name), group.wrong
    if isinstance(group.model, B4Group):
        wrong = problems_of(pool, group.model, taken)
        wrong += tuple(one.line for one in refused.get(Holder("B4Group", key.namespace, group.name), ()))
        if not wrong:
            return group.model
    refusals[owner] = wrong
    return before if before and not problems_of(pool, before, taken) else None


def problems_of(pool: AftrPool, group: B4Group, taken: Sequence[B4Group]) -> Lines:
    """What is wrong with a group beside this pool and these groups."""
    owner = owner_name("B4Group", group.metadata.name)
    return tuple(problem.line for problem in group_problems(pool, [*taken, group]) if problem.owner == owner)


def may_end_mappings(change: Change) -> bool:
    """Whether a change may end mappings: of class drain or immutable, another store, or B4s that come to another group or to none."""
    b4s = change.path.startswith(("spec.prefixes[", "spec.nat.bypass["))
    return change.kind in ("drain", "immutable") or change.path in STORES or b4s


def spare(running: Configuration, proposal: Proposal, lost: int | str) -> Proposal:
    """The proposal without the changes that would end `lost` live mappings, or of which nobody knows, for this reason."""
    wanted = proposal.configuration
    if wanted is None or lost == 0 or wanted.pool.spec.allow_disruption:
        return proposal
    suspects = [change for change in changes(running, wanted) if may_end_mappings(change)]
    if not suspects and isinstance(lost, str):
        return proposal
    owners = {change.owner for change in suspects} or {owner_name("AftrPool", wanted.pool.metadata.name)}
    many = "1 live mapping" if lost == 1 else f"{lost} live mappings"
    ends = lost if isinstance(lost, str) else f"it would end {many}"
    refusals, kept = dict(proposal.refusals), list[str]()
    asked = {owner_name("B4Group", group.metadata.name) for group in wanted.groups}
    for owner in sorted(owners):
        lines = tuple(
            f"{change.path}: {ends}: wait, or set allowDisruption" for change in suspects if change.owner == owner
        )
        if owner.startswith("B4Group ") and owner not in asked:
            kept.append(f"{owner} was deleted, {ends}")
        else:
            refusals[owner] = refusals.get(owner, ()) + (lines or (f"{ends}: wait, or set allowDisruption",))
    return Proposal(held_back(running, wanted, owners), refusals, tuple(kept))


def turned_down(running: Configuration | None, proposal: Proposal, wanted: Configuration, line: str) -> Proposal:
    """Nothing of a proposal: each object that would change what runs says why."""
    found = {change.owner for change in changes(running, wanted)} if running else set[str]()
    owners = found or {owner_name("AftrPool", wanted.pool.metadata.name)}
    refusals = {owner: (*proposal.refusals.get(owner, ()), line) for owner in owners}
    return Proposal(running, {**proposal.refusals, **refusals}, proposal.kept)


def scaled(in_force: AftrPool, asked: AftrPool) -> AftrPoolSpec | None:
    """What is in force, with as many pods as the object asks for, whatever of it is refused; None where it may not have them."""
    spec = in_force.spec.model_copy(update={"replicas": asked.spec.replicas, "autoscaling": asked.spec.autoscaling})
    return None if [*store_rules(spec), *autoscaling_rules(spec)] else spec


def held_back(running: Configuration, wanted: Configuration, owners: set[str]) -> Configuration:
    """`wanted` with these objects as they run."""
    pool = running.pool if owner_name("AftrPool", wanted.pool.metadata.name) in owners else wanted.pool
    before = {group.metadata.name: group for group in running.groups}
    after = {group.metadata.name: group for group in wanted.groups}
    for name in before | after:
        if owner_name("B4Group", name) in owners:
            after.pop(name, None)
            after |= {name: before[name]} if name in before else {}
    held = Configuration(pool, tuple(after[name] for name in sorted(after)))
    return running if any(group_problems(pool, held.groups)) else held
