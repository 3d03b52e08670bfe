"""The slot's state machine, step by step: who does what when, and the sentence that says why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aftr.failover.machine import HANDLERS, answer, step
from aftr.failover.observation import (
    Answer,
    Claim,
    Do,
    Head,
    Observation,
    Open,
    Result,
    Seal,
    ServeReadOnly,
    ServeUntil,
    TakeTail,
    Won,
)
from aftr.failover.state import Failsafe, Phase, Rules, State, Step, follows
from dslite_contract.journal import NOTHING, EntryId

RULES = Rules()
OWNED = Head(7, "a", EntryId(7, 9))
SEEN = Observation(
    now=10_000,
    connected=True,
    known=frozenset("bc"),
    head=OWNED,
    assigned="a",
    warm="b",
    lease_until=10_280,
    held=EntryId(7, 9),
    content=EntryId(7, 9),
)


def of(me: str, phase: Phase, **fields: object) -> State:
    """A state of slot 3, entered at 9,900; its head is known, and who asks has asked everyone."""
    until = 10_200 if phase in (Phase.SERVING, Phase.FREEZING) else 0
    asked = {"asked_whom": frozenset("abc"), "asked_all": 9_900}
    base = State(me, 3, phase, since=9_900, epoch=7, until=until, head_owner=(7, "a"), head_since=9_000)
    return replace(base, **asked | fields)  # type: ignore[arg-type]


def run(state: State, **fields: object) -> Step:
    """One step from SEEN with changes."""
    return step(state, replace(SEEN, **fields), RULES)  # type: ignore[arg-type]


SERVING = of("a", Phase.SERVING, opened=True)
WARM = of("b", Phase.WARM, epoch=0)
DEAD = {"assigned": "b", "warm": "c", "owner_dead": True, "known": frozenset("ac")}


def test_every_phase_has_a_handler() -> None:
    assert set(HANDLERS) == set(Phase)


# ── copies ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("me", ["a", "b"])
def test_owner_to_be_and_warm_copy_read_the_checkpoint(me: str) -> None:
    state, actions, sentence = run(of(me, Phase.CLOSED), head=Head(), assigned="a", warm="b")
    assert (state.phase, actions) == (Phase.COPYING, (Do.START_COPY,))
    assert sentence == f"reads the checkpoint, {'to serve' if me == 'a' else 'as warm copy'}"


def test_others_hold_nothing() -> None:
    assert run(of("c", Phase.CLOSED)) == Step(of("c", Phase.CLOSED), (), "closed: another pod's")
    assert run(of("c", Phase.WARM)).actions == (Do.WITHDRAW, Do.CLOSE)
    assert run(of("c", Phase.COPYING)).state.phase is Phase.CLOSED


def test_a_complete_copy_is_warm_and_a_gap_means_reload() -> None:
    assert run(of("b", Phase.COPYING), event=Result.COPIED).sentence == "warm: holds 7-9"
    assert run(of("b", Phase.COPYING), event=Result.BROKEN).actions == (Do.START_COPY,)
    state, actions, sentence = run(WARM, event=Result.BROKEN)
    assert (state.phase, actions) == (Phase.COPYING, (Do.START_COPY,))
    assert sentence == "reads the checkpoint again: a gap after 7-9"


# ── crash takeover ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_warm_copy_leaves_a_living_owner_alone() -> None:
    assert run(WARM).state.phase is Phase.WARM
    assert run(WARM, assigned="b").state.phase is Phase.WARM, "moves for balance are the owner's to begin"


def test_crash_takeover() -> None:
    lags = {**DEAD, "head": Head(7, "a", EntryId(7, 11))}
    state, actions, sentence = run(WARM, **lags)
    assert (state.phase, actions) == (Phase.ASKING, (Do.ASK_MEMBERS,))
    assert sentence == "asks 2 members what they hold: a, its owner with epoch 7, is dead"

    state, actions, sentence = run(state, **lags, now=10_020, answers={"c": Answer(10_000)})
    assert (state.phase, actions, sentence) == (Phase.ASKING, (), "asks: not all have answered")

    state, actions, sentence = run(state, **lags, now=10_050, answers={"c": Answer(10_000)})
    assert (state.phase, actions) == (Phase.CLAIMING, (Claim(7, "a", 8, EntryId(7, 11)),))
    assert sentence == "claims: a, its owner with epoch 7, is dead; no answer from a"

    state, actions, _ = run(state, **lags, event=Won(8, EntryId(7, 11)))
    assert (state.phase, state.epoch, actions) == (Phase.CATCHING_UP, 8, ())
    assert run(state, **lags).sentence == "reads the tail: holds 7-9, needs 7-11"

    state, actions, _ = run(state, **lags, held=EntryId(7, 11))
    assert (state.phase, actions) == (Phase.OPENING, (Open(8, 10_280),))
    state, actions, sentence = run(state, **lags, event=Result.OPENED, held=EntryId(8, 0))
    assert (state.phase, actions) == (Phase.SERVING, (ServeUntil(10_280), Do.ANNOUNCE))
    assert sentence == "serves with epoch 8"


def test_who_is_heard_of_while_others_answer_is_asked_too() -> None:
    """A store that lost its list knows of a few members; one of those knows of one more, who may hold most."""
    asking = run(WARM, **DEAD | {"known": frozenset("a")}).state
    more = {**DEAD, "answers": {"a": Answer(10_000)}}
    state, actions, sentence = run(asking, **more, now=10_045)
    assert (state.phase, actions) == (Phase.ASKING, (Do.ASK_MEMBERS,))
    assert sentence == "asks 2 members: it has just heard of more"
    assert run(state, **more, now=10_090).state.phase is Phase.ASKING, "it has its time to answer"
    assert run(state, **more, now=10_095).state.phase is Phase.CLAIMING


# ── a process that was started anew ──────────────────────────────────────────────────────────────────────────────────────


def test_a_process_that_was_started_anew_leaves_its_slot_to_who_holds_it_warm() -> None:
    fresh = of("a", Phase.CLOSED, epoch=0)
    state, actions, sentence = run(fresh, gives_up=True)
    assert (state.phase, actions) == (Phase.CLOSED, ())
    assert sentence == "closed: our process was started anew, and another pod holds the slot warm"
    assert run(fresh).actions == (Do.START_COPY,), "nobody took it in time"


MINE = {**DEAD, "head": Head(8, "b", EntryId(8, 0))}


@pytest.mark.parametrize("rewrite", [False, True])
def test_whose_lease_ended_on_the_way_claims_anew(rewrite: bool) -> None:
    """Who saw it dead may be about to claim; a new claim comes before that one or after it, and one of the two fails."""
    catching_up = of("b", Phase.CATCHING_UP, epoch=8, until=10_000, rewrite=rewrite)
    state, actions, sentence = run(catching_up, **MINE)
    assert (state.phase, actions) == (Phase.LOST if rewrite else Phase.WARM, ())
    assert sentence == "lost epoch 8: the lease ended before it opened"
    assert run(state, **MINE).sentence == "asks 2 members what they hold: the store names this pod with epoch 8"


@pytest.mark.parametrize("event", [Result.CHECKPOINTED, Result.UNRESOLVED, None])
def test_whose_lease_ended_does_not_write_its_checkpoint_over_another_owner(event: Result | None) -> None:
    rewriting = of("b", Phase.REWRITING, epoch=8, until=10_000, rewrite=True)
    assert run(rewriting, event=event) == Step(
        replace(rewriting, phase=Phase.LOST, since=10_000), (), "lost epoch 8: the lease ended before it opened"
    )
    opening = run(replace(rewriting, phase=Phase.OPENING), event=Result.OPENED)
    assert opening.state.phase is Phase.LOST


def test_a_lease_that_runs_is_renewed_on_the_way() -> None:
    catching_up = of("b", Phase.CATCHING_UP, epoch=8, until=10_001, need=EntryId(7, 12))
    state = run(catching_up, **MINE).state
    assert run(state, **MINE, now=10_200, held=EntryId(7, 12)).actions == (Open(8, 10_280),)


HEARD = {"b": Answer(10_000), "c": Answer(10_000)}


def test_a_former_owner_does_not_take_its_own_last_entry_once_more() -> None:
    held = EntryId(7, 9)
    assert follows(WARM, held)
    assert follows(of("b", Phase.ASKING), held)
    assert not follows(of("a", Phase.ASKING, rewrite=True), held)
    claiming = run(of("a", Phase.ASKING, rewrite=True), answers=HEARD).state
    assert not follows(run(claiming, event=Won(8, EntryId(7, 9))).state, held)
    assert follows(of("b", Phase.CATCHING_UP, need=EntryId(7, 12), rewrite=True), held)
    assert not follows(of("b", Phase.LOST), held)


def test_a_former_owner_holds_all_that_was_written_in_its_epoch() -> None:
    """Its checkpoint may be stored without its knowing: what the store has beyond `held` is its own, and read by nobody."""
    asking = of("a", Phase.ASKING, rewrite=True)
    claiming = run(asking, head=Head(7, "a", EntryId(7, 12)), answers=HEARD).state
    state, actions, _ = run(claiming, event=Won(8, EntryId(7, 12)))
    assert (state.phase, state.need, actions) == (Phase.CATCHING_UP, NOTHING, ())
    assert run(state).actions == (Do.WRITE_CHECKPOINT,)
    other = run(asking, head=Head(6, "b", EntryId(6, 3)), owner_dead=True, answers=HEARD).state
    assert other.need == EntryId(6, 3)


def test_a_claim_of_which_a_former_owner_did_not_hear_takes_nothing_from_it() -> None:
    state = run(of("a", Phase.CLAIMING, rewrite=True), event=Result.UNRESOLVED).state
    mine = Head(8, "a", EntryId(8, 0))
    state, actions, _ = run(state, head=mine)
    assert (state.phase, actions) == (Phase.ASKING, (Do.ASK_MEMBERS,))
    state, actions, _ = run(state, head=mine, answers=HEARD)
    assert (state.need, actions) == (NOTHING, (Claim(8, "a", 9, EntryId(8, 0)),))
    handed = replace(mine, sealed=True)
    lost = run(of("a", Phase.LOST, rewrite=True), head=handed).state
    assert run(lost, head=handed, now=11_050).state.phase is Phase.CLOSED, "another served meanwhile"


def test_a_gap_in_the_tail_means_reload_also_for_who_holds_more_elsewhere() -> None:
    catching_up = of("b", Phase.CATCHING_UP, epoch=8, need=EntryId(7, 12), rewrite=True)
    assert run(catching_up, **DEAD, event=Result.BROKEN).actions == (Do.START_COPY,)
    assert run(replace(catching_up, source="c", most=EntryId(7, 14)), **DEAD, event=Result.BROKEN).actions == ()


@pytest.mark.parametrize("source", ["", "c"])
def test_half_a_copy_is_neither_opened_nor_written_as_a_checkpoint(source: str) -> None:
    """Nothing is needed, as after the store lost its head, and the tail takes longer than it may."""
    filling = of(
        "b", Phase.CATCHING_UP, epoch=8, until=10_600, source=source, most=EntryId(7, 14), need=NOTHING, rewrite=True
    )
    waits = run(filling, **MINE, held=NOTHING, filling=True, now=10_500)
    assert (waits.state.phase, waits.actions) == (Phase.CATCHING_UP, ())
    assert waits.sentence == "puts what it has read into its tables"
    assert run(filling, **MINE, held=NOTHING, filling=True, now=10_600).sentence == (
        "lost epoch 8: the lease ended before it opened"
        if not source
        else "goes on without what c alone held: no answer"
    )
    filled = run(replace(filling, source=""), **MINE, held=EntryId(7, 14), now=10_500)
    assert (filled.state.phase, filled.actions) == (Phase.REWRITING, (Do.WRITE_CHECKPOINT,))


def test_a_takeover_waits_while_the_owner_says_that_it_serves() -> None:
    asking = of("b", Phase.ASKING, asked=9_900, epoch=0)
    answers = {"a": Answer(9_950, serves=True), "c": Answer(9_950)}
    state, actions, sentence = run(asking, **DEAD, answers=answers)
    assert (state.phase, actions, sentence) == (
        Phase.ASKING,
        (Do.ASK_MEMBERS,),
        "asks again: a member says that it serves",
    )
    assert run(asking, **DEAD, answers=answers, now=10_350).state.phase is Phase.CLAIMING, "that was a dead-time ago"


def test_an_owner_that_comes_back_keeps_its_slot() -> None:
    assert run(of("b", Phase.ASKING), **{**DEAD, "owner_dead": False}).state.phase is Phase.WARM


@pytest.mark.parametrize("event", [Result.BEATEN, Result.REFUSED, Result.UNRESOLVED])
def test_a_claim_that_failed_leaves_the_copy_warm(event: Result) -> None:
    assert run(of("b", Phase.CLAIMING, epoch=0), **DEAD, event=event).state.phase is Phase.WARM


def test_who_was_beaten_claims_again_by_a_newer_head_alone() -> None:
    others = {"a": Answer(10_000), "c": Answer(10_000)}
    beaten = run(of("b", Phase.CLAIMING, epoch=0), **DEAD, event=Result.BEATEN).state
    before, after = replace(OWNED, read_ms=9_950), replace(OWNED, read_ms=10_000)
    assert run(beaten, **DEAD | {"head": before}).sentence == "warm up to 7-9; reads who was faster"
    asking = run(beaten, **DEAD | {"head": after}).state
    assert run(asking, **DEAD | {"head": before}, answers=others).state.phase is Phase.ASKING
    assert run(asking, **DEAD | {"head": after}, answers=others).state.phase is Phase.CLAIMING


def test_who_holds_more_than_the_store_gives_the_tail() -> None:
    answers = {"a": Answer(9_950, EntryId(7, 12)), "c": Answer(9_950, EntryId(7, 9))}
    state, _, _ = run(of("b", Phase.ASKING), **DEAD, answers=answers)
    state, actions, sentence = run(state, **DEAD, event=Won(8, EntryId(7, 10)))
    assert actions == (TakeTail("a", EntryId(7, 10)),)
    assert sentence == "owner with epoch 8; takes the tail up to 7-12 from a"
    assert run(state, **DEAD, held=EntryId(7, 12)).state.phase is Phase.CATCHING_UP, "it is told when all of it is here"
    again = run(state, **DEAD, held=EntryId(7, 12), event=Result.TAIL_TAKEN)
    assert (again.state.phase, again.actions) == (Phase.REWRITING, (Do.WRITE_CHECKPOINT,))
    assert run(again.state, **DEAD, event=Result.CHECKPOINTED).actions == (Open(8, 10_280),)
    failed = run(state, **DEAD, event=Result.TAIL_FAILED)
    assert failed.sentence == "goes on without what a alone held: no answer"


def test_a_copy_that_holds_more_than_the_store_writes_it_first() -> None:
    state, _, _ = run(of("b", Phase.CLAIMING, epoch=0), **DEAD, event=Won(8, EntryId(7, 5)))
    assert run(state, **DEAD).actions == (Do.WRITE_CHECKPOINT,)


def test_a_claim_that_stored_nothing_hides_no_loss_from_the_next_one() -> None:
    """Its id is above all that was lost: b did not hear of its own claim, or somebody else died on the way."""
    head = Head(8, "b", EntryId(8, 0))
    asking = of("b", Phase.ASKING, epoch=0, head_owner=(8, "b"))
    claiming = run(asking, **DEAD | {"head": head}, answers={"a": Answer(9_950), "c": Answer(9_950)}).state
    state, actions, _ = run(claiming, **DEAD | {"head": head}, event=Won(9, NOTHING))
    assert (state.rewrite, state.need, actions) == (True, NOTHING, ())
    assert run(state, **DEAD | {"head": Head(9, "b", EntryId(9, 0))}).actions == (Do.WRITE_CHECKPOINT,)


def test_who_holds_more_is_found_behind_a_claim_that_stored_nothing() -> None:
    answers = {"a": Answer(9_950, EntryId(7, 5), 8), "c": Answer(9_950, EntryId(7, 9))}
    head, behind = Head(8, "a", EntryId(8, 0)), {"held": EntryId(8, 0), "content": EntryId(7, 5)}
    asking = of("b", Phase.ASKING, epoch=0, head_owner=(8, "a"))
    claiming = run(asking, **DEAD | {"head": head}, **behind, answers=answers).state
    won = run(claiming, **DEAD | {"head": head}, **behind, event=Won(9, EntryId(7, 5)))
    assert won.actions == (TakeTail("c", EntryId(7, 5)),), "a has only what the store has"
    complete = run(claiming, **DEAD | {"head": head}, held=EntryId(9, 0), event=Won(9, EntryId(7, 9)))
    assert (complete.state.source, complete.state.rewrite, complete.actions) == ("", False, ())


def test_a_copy_of_a_claim_alone_is_no_newer_than_what_was_lost_before_it() -> None:
    """a raised the epoch in an empty store, c copied that, and then the store lost it too, together with a."""
    copied = replace(SEEN, held=EntryId(8, 0), content=NOTHING)
    assert answer(of("c", Phase.WARM, epoch=0), copied) == Answer(0, epoch=8)
    answers = {"a": Answer(9_950, epoch=8), "c": Answer(9_950, EntryId(7, 9), 7)}
    new = {**NO_HEAD, "assigned": "b", "known": frozenset("ac"), "answers": answers}
    claiming = run(of("b", Phase.ASKING, epoch=0), **new, connected_ms=0)
    assert claiming.actions == (Claim(0, "", 9),)
    assert run(claiming.state, **new, event=Won(9, NOTHING)).actions == (TakeTail("c", NOTHING),)


@pytest.mark.parametrize("phase", [Phase.CATCHING_UP, Phase.REWRITING])
def test_who_is_overtaken_with_more_than_the_store_has_keeps_it(phase: Phase) -> None:
    overtaken = {**DEAD, "head": Head(9, "c", EntryId(9, 0))}
    assert run(of("b", phase, epoch=8, until=10_280, rewrite=True), **overtaken).state.phase is Phase.LOST
    assert run(of("b", phase, epoch=8, until=10_280), **overtaken).state.phase is Phase.CLOSED


def test_the_new_epoch_is_above_all_that_anyone_holds() -> None:
    answers = {"a": Answer(9_950, EntryId(12, 1)), "c": Answer(9_950)}
    assert run(of("b", Phase.ASKING), **DEAD, answers=answers).actions == (Claim(7, "a", 13, EntryId(7, 9)),)
    answers = {"a": Answer(9_950, epoch=14), "c": Answer(9_950)}
    assert run(of("b", Phase.ASKING), **DEAD, answers=answers).actions == (Claim(7, "a", 15, EntryId(7, 9)),)


# ── first open, store without a head ─────────────────────────────────────────────────────────────────────────────────────

NO_HEAD = {"head": Head(), "held": NOTHING, "content": NOTHING, "assigned": "a"}


def test_first_open_of_a_pool_of_one_waits_one_dead_time() -> None:
    alone = {**NO_HEAD, "known": frozenset[str](), "connected_ms": 9_700}
    state, actions, _ = run(of("a", Phase.WARM, epoch=0), **alone)
    assert (state.phase, actions) == (Phase.ASKING, (Do.ASK_MEMBERS,))
    assert run(state, **alone, now=10_099).state.phase is Phase.ASKING
    assert run(state, **alone, now=10_100).actions == (Claim(0, "", 1),)


def test_first_open_of_a_pool_waits_one_dead_time_though_all_have_answered() -> None:
    """A store that lost its list may know of new pods only: all others have made themselves known by then."""
    new = {**NO_HEAD, "connected_ms": 9_990, "answers": {"b": Answer(9_990), "c": Answer(9_990)}}
    asking = of("a", Phase.ASKING, epoch=0)
    assert run(asking, **new, now=10_389).state.phase is Phase.ASKING
    assert run(asking, **new, now=10_390).actions == (Claim(0, "", 1),)


def test_an_owner_that_still_serves_gives_the_store_its_head_back() -> None:
    state, actions, sentence = run(SERVING, head=Head(read_ms=10_000))
    assert (state.phase, actions) == (Phase.REWRITING, (Do.WRITE_CHECKPOINT,))
    assert sentence == "serves; writes a checkpoint, because the store holds less than 7-9"


# ── lease ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_deadline_follows_the_lease() -> None:
    state, actions, _ = run(SERVING)
    assert (state.until, actions) == (10_280, (ServeUntil(10_280),))


@pytest.mark.parametrize("phase", [Phase.SERVING, Phase.FAILSAFE, Phase.FREEZING])
def test_a_lease_that_ended_is_not_renewed(phase: Phase) -> None:
    state, actions, sentence = run(of("a", phase, until=10_000, target="b"), lease_until=10_280)
    assert (state.phase, actions) == (Phase.LOST, (Do.STOP_SERVING, Do.WITHDRAW))
    assert sentence == "stopped serving: the lease ended 0 ms ago"


@pytest.mark.parametrize("head", [Head(8, "b", EntryId(8, 0)), Head(7, "b", EntryId(7, 9))])
def test_a_newer_owner_in_the_store_ends_the_service(head: Head) -> None:
    state, _, sentence = run(SERVING, head=head)
    assert state.phase is Phase.LOST
    assert sentence == f"stopped serving: the store names b with epoch {head.epoch}, ours is 7"
    assert run(state, head=head, now=11_050).state.phase is Phase.CLOSED


# ── what is held, until others have it ───────────────────────────────────────────────────────────────────────────────────


def test_who_holds_most_keeps_it_until_the_new_owner_has_stored_something_or_had_the_time_to_take_it() -> None:
    lost = of("a", Phase.LOST, rewrite=True)
    claimed, stored = Head(8, "b", EntryId(8, 0)), Head(8, "b", EntryId(8, 1))
    state, actions, sentence = run(lost, head=claimed)
    assert (state.phase, actions) == (Phase.LOST, ())
    assert sentence == "keeps 7-9 until its new owner has it: the store names b with epoch 8, ours is 7"
    assert run(state, head=claimed, now=11_049).state.phase is Phase.LOST
    assert run(state, head=claimed, now=11_050).state.phase is Phase.CLOSED
    assert run(state, head=claimed, now=11_050, connected_ms=11_000).state.phase is Phase.LOST, "nobody could"
    assert run(state, head=stored).state.phase is Phase.CLOSED


def test_a_copy_that_may_hold_more_than_the_store_is_not_begun_anew() -> None:
    fell_back = Head(7, "a", EntryId(7, 5))
    state, actions, sentence = run(WARM, event=Result.BROKEN, head=fell_back)
    assert (state.phase, state.gap, actions) == (Phase.WARM, True, ())
    assert sentence == "keeps 7-9, which may be more than the store has: the journal does not go on from it"
    assert not follows(state, EntryId(7, 9))
    assert run(state, **DEAD | {"head": fell_back}).state.phase is Phase.ASKING, "it may be the one to serve"
    assert run(state, head=Head(7, "a", EntryId(7, 10))).actions == (Do.START_COPY,), (
        "the owner has stored all of it anew"
    )


def test_what_was_handed_over_is_kept_while_the_store_may_hold_less() -> None:
    draining = of("a", Phase.DRAINING, until=9_990, target="b")
    for head in (None, Head()):
        state, actions, sentence = run(draining, head=head)
        assert (state.phase, actions) == (Phase.LOST, (Do.STOP_SERVING, Do.WITHDRAW))
        assert sentence == "stopped serving: handed over; keeps 7-9 until its new owner has stored something"
    assert run(draining, head=Head(8, "b", EntryId(8, 1))).state.phase is Phase.CLOSED


def test_fenced() -> None:
    assert run(SERVING, event=Result.FENCED).sentence == "stopped serving: the store has another owner"


def test_a_former_owner_claims_its_slot_anew() -> None:
    lost = run(SERVING, event=Result.FENCED).state
    assert run(lost, connected=False, head=None).state.phase is Phase.LOST
    state, actions, sentence = run(lost)
    assert (state.phase, actions) == (Phase.ASKING, (Do.ASK_MEMBERS,))
    assert sentence == "asks 2 members what they hold: the store names this pod with epoch 7"


OLDER = Head(6, "b", EntryId(6, 3), read_ms=9_950)


def test_a_former_owner_in_a_store_that_lost_its_claim_keeps_what_it_holds() -> None:
    lost = of("a", Phase.LOST, rewrite=True)
    state, actions, sentence = run(lost, head=OLDER)
    assert (state.phase, actions) == (Phase.LOST, (Do.ASK_MEMBERS,))
    assert sentence == "keeps 7-9; asks whether b serves"
    assert run(state, head=OLDER, now=10_049).actions == ()
    assert run(state, head=OLDER, now=10_050).actions == (Do.ASK_MEMBERS,)


@pytest.mark.parametrize(
    ("answer", "phase"),
    [
        (Answer(9_950, epoch=6, serves=True), Phase.CLOSED),
        (Answer(9_950, epoch=8, serves=True), Phase.LOST),  # it takes what is held here
        (Answer(9_950, epoch=6), Phase.LOST),
        (Answer(9_890, epoch=6, serves=True), Phase.LOST),  # before that
    ],
)
def test_it_lets_go_when_the_owner_serves_without_it(answer: Answer, phase: Phase) -> None:
    assert run(of("a", Phase.LOST, rewrite=True), head=OLDER, answers={"b": answer}).state.phase is phase


# ── planned handover ─────────────────────────────────────────────────────────────────────────────────────────────────────

MOVE = {"assigned": "b", "turn": True, "target_ready": True}
SEALED = Head(8, "b", EntryId(8, 0), sealed=True)


def test_handover_of_the_old_owner() -> None:
    assert run(SERVING, **{**MOVE, "turn": False}).sentence == "serves; goes to b in its turn"
    assert run(SERVING, **{**MOVE, "target_ready": False}).sentence == "serves; goes to b once that is warm"
    state, actions, _ = run(SERVING, **MOVE)
    assert (state.phase, actions) == (Phase.FREEZING, (ServeUntil(10_280), Do.FREEZE, Do.FLUSH))
    assert run(state, **MOVE).actions == ()
    state, actions, sentence = run(state, **MOVE, event=Result.FLUSHED)
    assert (actions, sentence) == ((Seal("b", 8),), "seals epoch 7 for b")
    for event in (Result.UNRESOLVED, Result.REFUSED):
        assert run(state, **MOVE, event=event).actions == (Seal("b", 8),)
    assert run(state, **MOVE, connected=False, event=Result.UNRESOLVED).actions == (Seal("b", 8),)
    assert run(state, **MOVE, head=SEALED).state.phase is Phase.DRAINING, "the reply was lost, the store tells"
    state, actions, _ = run(state, **MOVE, event=Result.SEALED)
    assert (state.phase, actions) == (Phase.DRAINING, (ServeReadOnly(15_000),))
    opened = Head(9, "b", EntryId(9, 0), read_ms=10_100)
    state, actions, sentence = run(state, **MOVE, head=opened, now=10_100)
    assert (actions, sentence) == ((ServeReadOnly(12_100),), "b has opened; withdraws in 2000 ms")
    assert run(state, **MOVE, head=opened, now=12_099).actions == ()
    assert run(state, **MOVE, head=opened, now=12_100).actions == (Do.WITHDRAW, Do.CLOSE)


def test_handover_of_the_target() -> None:
    state, actions, sentence = run(WARM, **MOVE, head=SEALED)
    assert (state.phase, actions) == (Phase.CLAIMING, (Claim(8, "b", 9, EntryId(8, 0)),))
    assert sentence == "takes over as handed: the store names this pod with epoch 8"


def test_a_target_that_does_not_answer_within_500_ms_of_the_seal() -> None:
    third = of("c", Phase.WARM, epoch=0)
    seen = {"assigned": "b", "warm": "c", "head": SEALED}
    state = run(third, **seen).state
    assert run(state, **seen, now=10_499).state.phase is Phase.WARM
    assert run(state, **seen, now=10_500).sentence == (
        "asks 2 members what they hold: b did not open it within 500 ms of the seal of epoch 8"
    )


def test_who_takes_a_slot_back_stops_translating_before_others_entries_come_into_its_tables() -> None:
    draining = of("a", Phase.DRAINING, target="b", until=15_000)
    back = run(draining, assigned="a", owner_dead=True, head=Head(9, "b", EntryId(9, 4), read_ms=9_950))
    assert (back.state.phase, back.actions) == (Phase.ASKING, (Do.STOP_SERVING, Do.ASK_MEMBERS))


@pytest.mark.parametrize(
    "change", [{"assigned": "c"}, {"now": 10_400, "lease_until": 10_600}, {"connected": False, "head": None}]
)
def test_a_handover_is_given_up_before_the_seal_and_never_after(change: dict[str, object]) -> None:
    state = of("a", Phase.FREEZING, target="b", until=10_600)
    thawed = run(state, **{**MOVE, **change})
    assert (thawed.state.phase, thawed.actions) == (Phase.SERVING, (Do.THAW,))
    assert run(replace(state, sealing=True), **{**MOVE, **change}).sentence == (
        "does not know yet whether the seal for b was carried out"
    )


@pytest.mark.parametrize("change", [{}, {"assigned": "c"}, {"now": 10_400, "lease_until": 10_600}])
def test_a_seal_in_a_store_that_fell_back_makes_the_owner_write_anew(change: dict[str, object]) -> None:
    sealing = of("a", Phase.FREEZING, target="b", until=10_600, sealing=True)
    state, actions, _ = run(sealing, **{**MOVE, **change}, event=Result.REWOUND)
    assert (state.phase, state.sealing, actions[-2:]) == (Phase.REWRITING, False, (Do.THAW, Do.WRITE_CHECKPOINT))


# ── without the store ────────────────────────────────────────────────────────────────────────────────────────────────────

CUT = {"connected": False, "head": None, "lease_until": 10_100}
FAILSAFE = of("a", Phase.FAILSAFE, until=10_100, opened=True, asked=10_000)


def test_an_owner_without_the_store_asks_and_gives_out_no_blocks() -> None:
    state, actions, _ = run(SERVING, **CUT)
    assert (state.phase, actions) == (Phase.FAILSAFE, (Do.REFUSE_BLOCKS, Do.ASK_MEMBERS))


def test_it_serves_while_every_member_promises() -> None:
    answers = {"b": Answer(9_950, promises=True), "c": Answer(9_990, promises=True)}
    assert run(FAILSAFE, **CUT, answers=answers).actions == (ServeUntil(9_950 + 280),)
    assert run(FAILSAFE, **CUT, answers=answers, now=10_050).actions == (ServeUntil(10_230), Do.ASK_MEMBERS)


def test_a_promise_of_an_earlier_failure_lasts_no_longer_for_a_new_one() -> None:
    """All promises are older than this outage, and still hold: the oldest decides."""
    answers = {"b": Answer(9_850, promises=True), "c": Answer(9_890, promises=True)}
    assert run(FAILSAFE, **CUT, answers=answers).actions == (ServeUntil(10_130),)


@pytest.mark.parametrize("other", [None, Answer(9_990), Answer(9_700, promises=True)])
def test_one_missing_promise_and_it_stops_with_its_lease(other: Answer | None) -> None:
    answers = {"b": Answer(9_990, promises=True)} | ({"c": other} if other else {})
    state, actions, _ = run(FAILSAFE, **CUT, answers=answers)
    assert (state.phase, actions) == (Phase.FAILSAFE, ())
    assert run(state, **CUT, answers=answers, now=10_100).state.phase is Phase.LOST


def test_a_pool_of_one_serves_on() -> None:
    assert run(FAILSAFE, **CUT, known=frozenset()).actions == (ServeUntil(10_280),)


def test_available_serves_unless_it_is_told_otherwise() -> None:
    rules = Rules(failsafe=Failsafe.AVAILABLE)
    seen = replace(SEEN, connected=False, head=None)
    assert step(FAILSAFE, seen, rules).actions == (ServeUntil(10_280),)
    assert step(FAILSAFE, replace(seen, answers={"b": Answer(9_990)}), rules).actions == ()


def test_an_answer_of_a_newer_epoch_ends_it() -> None:
    answers = {"b": Answer(9_990, EntryId(8, 0), promises=True)}
    assert run(FAILSAFE, **CUT, answers=answers).sentence == "stopped serving: b knows of epoch 8, ours is 7"


def test_the_store_comes_back() -> None:
    state, actions, _ = run(FAILSAFE)
    assert (state.phase, actions) == (Phase.SERVING, (ServeUntil(10_280), Do.ALLOW_BLOCKS))


@pytest.mark.parametrize(
    "change",
    [
        {"forgone": True},
        {"head": Head(7, "a", EntryId(7, 8))},
        {"head": Head(6, "b", EntryId(6, 20))},
        {"head": Head()},
    ],
)
def test_a_store_that_has_less_or_will_not_hear_of_all_gets_a_checkpoint(change: dict[str, object]) -> None:
    state, actions, _ = run(FAILSAFE, **change)
    assert (state.phase, actions) == (Phase.REWRITING, (ServeUntil(10_280), Do.WRITE_CHECKPOINT))
    state, actions, _ = run(state, event=Result.CHECKPOINTED)
    assert (state.phase, actions) == (Phase.SERVING, (Do.ALLOW_BLOCKS,))


def test_rewound() -> None:
    state, actions, _ = run(SERVING, event=Result.REWOUND)
    assert (state.phase, actions) == (Phase.REWRITING, (Do.WRITE_CHECKPOINT,))
    assert run(state, event=Result.FENCED).state.phase is Phase.LOST
    assert run(state, **CUT).state.phase is Phase.FAILSAFE


def test_a_store_that_refuses_to_write() -> None:
    state, actions, sentence = run(SERVING, event=Result.REFUSED)
    assert actions == (ServeUntil(10_280), Do.REFUSE_BLOCKS)
    assert sentence == "serves; the store refuses to write"
    assert run(state, event=Result.ACCEPTED).actions == (Do.ALLOW_BLOCKS,)


def test_a_checkpoint_that_the_store_refuses_is_written_again() -> None:
    """Meanwhile customers go on in the blocks that they have, as ever when the store refuses."""
    rewriting = of("a", Phase.REWRITING, opened=True, until=10_200, rewrite=True)
    for event in (Result.REFUSED, Result.REWOUND, Result.UNRESOLVED):
        state, actions, sentence = run(rewriting, event=event)
        refuses = (Do.REFUSE_BLOCKS,) if event is Result.REFUSED else ()
        assert actions == (ServeUntil(10_280), *refuses, Do.WRITE_CHECKPOINT)
        assert (state.phase, state.refused) == (Phase.REWRITING, True)
        assert sentence == f"serves; writes the checkpoint again: {event.value}"
        done = run(state, event=Result.CHECKPOINTED)
        assert (done.state.phase, done.state.refused, done.actions) == (Phase.SERVING, False, (Do.ALLOW_BLOCKS,))


def test_the_same_before_it_opens() -> None:
    rewriting = of("b", Phase.REWRITING, epoch=8, until=10_200, rewrite=True)
    mine = Head(8, "b", EntryId(8, 0))
    state, actions, sentence = run(rewriting, event=Result.REFUSED, head=mine)
    assert (actions, state.refused) == ((Do.WRITE_CHECKPOINT,), True)
    assert sentence == "writes the checkpoint again: the store refuses to write"
    assert not run(state, event=Result.UNRESOLVED, head=mine).state.refused
    opening = run(state, event=Result.CHECKPOINTED, head=mine).state
    assert (opening.phase, opening.refused) == (Phase.OPENING, False)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("phase", "promises"), [(Phase.WARM, True), (Phase.LOST, True), (Phase.CLAIMING, False)])
def test_who_promises(phase: Phase, promises: bool) -> None:
    cut = replace(SEEN, connected=False)
    assert answer(of("b", phase), cut).promises is promises
    assert not answer(of("b", phase), SEEN).promises, "it reaches the store"


@pytest.mark.parametrize("phase", [Phase.CATCHING_UP, Phase.REWRITING, Phase.OPENING])
def test_who_has_the_epoch_says_that_it_serves_while_it_may_open(phase: Phase) -> None:
    """A store that fell back names another owner; this one, cut off, still opens within its lease."""
    cut = replace(SEEN, connected=False)
    assert answer(of("b", phase, epoch=8), SEEN).serves
    assert answer(of("b", phase, epoch=8, until=10_200), cut).serves
    assert not answer(of("b", phase, epoch=8, until=10_000), cut).serves


def test_an_owner_says_that_it_serves_until_its_deadline() -> None:
    assert answer(SERVING, SEEN) == Answer(0, EntryId(7, 9), epoch=7, serves=True)
    assert not answer(SERVING, replace(SEEN, now=10_200)).serves
    assert not answer(WARM, SEEN).serves
