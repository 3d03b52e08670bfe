"""What must hold before a slot's state machine takes a step that could harm.

Each guard says whether the step is allowed.  The model check removes them one by one, and finds what each prevents.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from aftr.failover.lease import lease_ms
from aftr.failover.observation import Answer, Head
from dslite_contract.journal import EntryId


def lease_runs(now: int, until: int) -> bool:
    """Serve: the deadline has not passed.  One that has passed stays passed: the owner claims anew, whatever is renewed since."""
    return now < until


def not_superseded(head: Head, epoch: int, me: str) -> bool:
    """Serve: the store names no newer owner.  Nobody else claims in our name: that is a claim of ours, of which we did not hear."""
    return head.missing or head.epoch < epoch or (head.owner == me and not head.sealed)


def may_forget(head: Head, held: EntryId, long_ago: bool) -> bool:
    """Close a copy, begin it anew, or close what was handed over: the store holds no less.  After a loss, it may be the last one.

    Who has raised the epoch takes the tail from who holds most: it has stored something since, or it was `long_ago`.
    """
    return head.last >= held and (head.epoch == held.epoch or head.last.seq > 0 or long_ago)


def owner_is_gone(owner_dead: bool) -> bool:
    """Claim: the owner in the store is dead."""
    return owner_dead


def all_were_asked(known: Collection[str], asked: Collection[str]) -> bool:
    """Claim: also who became known by another's answer was asked."""
    return set(known) <= set(asked)


def members_were_heard(known: Collection[str], heard: Collection[str], asked_for: int, ask_ms: int) -> bool:
    """Claim: all known members have answered since they were asked, or had the time to."""
    return set(known) <= set(heard) or asked_for >= ask_ms


def nobody_serves(answers: Iterable[Answer], now: int, dead_after_ms: int) -> bool:
    """Claim: no member said that it serves, so recently that it still may."""
    return not any(answer.serves and now - answer.asked_ms < dead_after_ms for answer in answers)


def store_settled(head: Head, back_for: int, dead_after_ms: int) -> bool:
    """Claim: a store without a head has been back for one dead-time, in which everyone who lives has made itself known again.

    Whom the store still lists says nothing: one that lost its list may know of new pods only.
    """
    return not head.missing or back_for >= dead_after_ms


def store_has(content: EntryId, stored: EntryId) -> bool:
    """Open without it: what a member holds up to this entry is in the store."""
    return content <= stored


def newest_epoch(claimed: int, heard: Iterable[int]) -> int:
    """Claim: the epoch is above every epoch that anyone holds or had, so that routers and members prefer its owner."""
    return max((claimed, *(epoch + 1 for epoch in heard)))


def holds_the_tail(held: EntryId, need: EntryId) -> bool:
    """Open: the copy has all that the store had, or any member."""
    return held >= need


def store_holds_it(rewrite: bool) -> bool:
    """Open, or append: the store holds what this pod holds."""
    return not rewrite


def target_is_ready(ready: bool) -> bool:
    """Freeze: the target's copy follows, so that a freeze is short."""
    return ready


def is_its_turn(turn: bool) -> bool:
    """Freeze: this pod hands over no other slot."""
    return turn


def all_is_flushed(flushed: bool) -> bool:
    """Seal: what was created before the freeze is stored."""
    return flushed


def may_thaw(sealing: bool) -> bool:
    """Go back to serving: no seal was sent, or it is known to have failed."""
    return not sealing


def everyone_promised(known: Collection[str], answers: Mapping[str, Answer], now: int, dead_after_ms: int) -> bool:
    """Serve without the store: each member of the last list promised, within the lease."""
    return all(
        (answer := answers.get(uid)) is not None and answer.promises and now < answer.asked_ms + lease_ms(dead_after_ms)
        for uid in known
    )


def store_is_up_to_date(head: Head, held: EntryId, forgone: bool) -> bool:
    """Serve with the store again: it has all that it had, and the journal will have the rest."""
    return not forgone and head.last >= held


def drain_goes_on(now: int, until: int) -> bool:
    """Translate read-only after a seal: well within the hold-down of what the new owner frees."""
    return now < until


def may_promise(connected: bool, claim_is_out: bool) -> bool:
    """Promise not to raise the epoch: the store is out of reach, and no claim is on its way."""
    return not connected and not claim_is_out
