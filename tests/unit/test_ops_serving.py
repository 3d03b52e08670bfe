"""Pure parts of a pool's member: settings, addresses, what heartbeats say."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from aftr.failover.observation import Claim, Result, TakeTail, Won
from aftr.failover.state import Failsafe, Phase
from aftr.ops.secrets import StoreLogin
from aftr.ops.serving.settings import own_address, rules_of, store_settings
from aftr.ops.serving.slot import Slot
from aftr.ops.serving.versions import READS, readers, to_write
from aftr.ops.show import slot_table
from aftr.store.errors import StoreError, StoreRefusedError, StoreUnconfirmedError, StoreUnreachableError
from aftr.store.members import MemberRecord
from aftr.store.settings import Durability
from aftr.store.slots import NO_RECORDS, Owner, Reply, SlotHead
from dslite_contract.journal import FORMATS, NOTHING, EntryId
from dslite_contract.load import load_config
from next_version.next_format import NEXT, NEXT_VERSION
from rig import Rig, config_text

STORE = {"replicas": 2, "slots": 4, "store": {"embedded": {}}}


def test_times_of_the_machine_come_from_the_pool() -> None:
    spec = {**STORE, "failover": {"deadAfterMilliseconds": 600, "drainSeconds": 1, "failsafe": "available"}}
    rules = rules_of(load_config(config_text(spec)).pool)
    assert (rules.dead_after, rules.drain, rules.failsafe) == (600, 1000, Failsafe.AVAILABLE)


def test_an_old_owner_translates_for_less_than_half_of_the_hold_down() -> None:
    spec = {**STORE, "nat": {"portBlock": {"holdDownSeconds": 10}}, "failover": {"drainSeconds": 8}}
    assert rules_of(load_config(config_text(spec)).pool).read_only == 5000


def test_the_store_of_a_pool() -> None:
    pool = load_config(config_text({**STORE, "store": {"secretRef": "redis", "waitReplicas": 2}})).pool
    settings = store_settings(pool, StoreLogin("redis://10.64.0.1", "aftr", "secret"), "a")
    assert (settings.prefix, settings.uid, settings.slots) == ("default/test", "a", 4)
    assert (settings.username, settings.password) == ("aftr", "secret")
    assert (settings.durability, settings.wait_replicas) == (Durability.REPLICATED, 2)


@pytest.mark.parametrize(
    ("url", "address"),
    [("redis://127.0.0.1:6379", "127.0.0.1"), ("redis://[::1]:6379", "[::1]"), ("unix:///x", "127.0.0.1")],
)
def test_others_reach_us_where_we_reach_the_store_from(url: str, address: str) -> None:
    assert own_address(url) == address


def test_a_host_of_the_store_that_has_no_name_just_now_is_passed_over() -> None:
    assert own_address("redis+sentinel://gone.invalid:26379,127.0.0.1:26379/east") == "127.0.0.1"
    with pytest.raises(StoreUnreachableError, match=r"no way to any host of the store: gone\.invalid: look at"):
        own_address("redis://gone.invalid")


def reading(version: int | None) -> MemberRecord:
    return MemberRecord(1, {} if version is None else {READS: str(version)})


@pytest.mark.parametrize(
    ("announced", "written"), [([2, 2], 2), ([1, 2], 1), ([2, None], 1), ([3, 2], 2), ([0], 1), ([], 2)]
)
def test_what_all_members_read_is_written(
    announced: list[int | None], written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, NEXT_VERSION, NEXT)
    assert to_write(map(reading, announced)) == written


def test_slots_go_to_those_who_can_read_all_of_them() -> None:
    records = {"old": reading(1), "new": reading(2), "silent": reading(None)}
    heads = [SlotHead(Owner(1, "new"), EntryId(1, 0), versions=versions) for versions in ((1, 1), (1, 2))]
    assert readers(records, records, heads[:1]) == {"old", "new", "silent"}
    assert readers(records, records, heads) == {"new"}
    assert readers(["old"], records, heads) == set()
    assert readers(["unlisted"], {}, []) == {"unlisted"}


def test_people_see_owner_epoch_and_how_far_the_warm_copy_is() -> None:
    entry = {"slot": 0, "state": "open", "prefixes": ["192.0.2.0/26"], "phase": "serving", "owner": "a", "epoch": 3,
             "warmCopy": "b", "warmLag": 0, "quarantine": ["one", "two"], "quarantineSecondsLeft": 90}  # fmt: skip
    other = {
        "slot": 1,
        "phase": "closed",
        "warmCopy": None,
        "warmLag": None,
        "quarantine": [],
        "quarantineSecondsLeft": 0,
    }
    table = slot_table([entry, entry | other])
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["state"] == ["serving", "closed"]
    assert (columns["owner"], columns["epoch"]) == (["a", "a"], ["3", "3"])
    assert (columns["warm copy"], columns["behind"]) == (["b", ""], ["0", ""])
    assert columns["quarantine"] == ["2 unreadable, 90 s", ""]


def test_an_owner_whose_journal_was_full_stores_all_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(config_text({**STORE, "slots": 1}))
    pod, told = rig.engine.pod, list[Result | Won]()
    member: Any = SimpleNamespace(uid="a", pod=pod, store=SimpleNamespace(quarantine=None, version=min(FORMATS)))
    slot = Slot(member, 0)
    slot.state = replace(slot.state, phase=Phase.SERVING, epoch=3)
    monkeypatch.setattr(Slot, "tell", lambda _, event: told.append(event))
    for waiting in (2, 0):
        slot.record.journal_head, slot.record.overrun, slot.flushing = waiting, 1, True
        assert (slot.next_append(), told.pop(), told) == (None, Result.REWOUND, [])
        assert slot.record.journal_tail == 0, "what is in the journal stays there for the checkpoint"
    rig.close()


def test_a_flush_is_over_when_the_store_has_stored_something_since(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that is handed over where no replica confirms would be sealed for somebody who cannot open it."""
    rig = Rig(config_text({**STORE, "slots": 1}))
    told = list[Result | Won]()
    store = SimpleNamespace(quarantine=None, version=min(FORMATS))
    member: Any = SimpleNamespace(
        uid="a", pod=rig.engine.pod, store=store, journals=SimpleNamespace(pending=asyncio.Event())
    )
    slot = Slot(member, 0)
    slot.state = replace(slot.state, phase=Phase.FREEZING, epoch=3)
    monkeypatch.setattr(Slot, "tell", lambda _, event: told.append(event))
    assert slot.next_append() is None
    slot.flush()
    for reply in (Reply.UNCONFIRMED, Reply.UNCONFIRMED, Reply.OK):
        append = slot.next_append()
        assert (append is not None, told) == (True, [])
        slot.appended(reply)
    assert (slot.next_append(), told) == (None, [Result.FLUSHED])
    rig.close()


@pytest.mark.parametrize("error", [StoreRefusedError("full"), StoreUnconfirmedError("0 of 1 replicas")])
async def test_a_claim_that_is_not_taken_leaves_what_else_is_served_alone(
    monkeypatch: pytest.MonkeyPatch, error: StoreError
) -> None:
    """The store answers: no slot needs the other members' promises, of whom one is dead."""

    async def claim(*_: object) -> None:
        raise error

    told = list[Result | Won]()
    member: Any = SimpleNamespace(
        uid="a", store=SimpleNamespace(quarantine=None, claim=claim), is_silent=lambda _: True, lose_store=None
    )
    monkeypatch.setattr(Slot, "tell", lambda _, event: told.append(event))
    await Slot(member, 0).claim(Claim(3, "b", 4, EntryId(3, 9)))
    assert told == [Result.REFUSED]


async def test_a_tail_that_comes_too_late_is_not_that_of_the_next_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lack what was stored between the two."""
    asked, told = asyncio.Queue[str](), list[Result | Won]()
    answers = dict[str, asyncio.Future[Any]]()

    async def tail(uid: str, _: int) -> object:
        answers[uid] = asyncio.get_running_loop().create_future()
        asked.put_nowait(uid)
        return await answers[uid]

    rig = Rig(config_text({**STORE, "slots": 1}))
    member: Any = SimpleNamespace(
        uid="a", pod=rig.engine.pod, store=SimpleNamespace(quarantine=None), peers=SimpleNamespace(tail=tail), now=0,
        applying=asyncio.Lock(), workers=SimpleNamespace(halted=nullcontext),
    )  # fmt: skip
    slot = Slot(member, 0)
    monkeypatch.setattr(Slot, "tell", lambda _, event: told.append(event))
    tails = []
    for uid, epoch in (("b", 8), ("c", 10)):
        slot.state = replace(slot.state, phase=Phase.CATCHING_UP, epoch=epoch)
        tails.append(asyncio.create_task(slot.copy.take_tail(TakeTail(uid, EntryId(7, 1)), epoch)))
        assert await asked.get() == uid
    answers["b"].set_result((EntryId(7, 9), NO_RECORDS))
    await tails[0]
    assert (slot.content, told) == (NOTHING, [])
    answers["c"].set_result((EntryId(9, 3), NO_RECORDS))
    await tails[1]
    assert (slot.held, slot.content, told) == (EntryId(9, 3), EntryId(9, 3), [Result.TAIL_TAKEN])
    assert not slot.copy.filling
    rig.close()


async def test_a_claim_that_is_followed_adds_nothing_to_what_a_copy_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    member: Any = SimpleNamespace(uid="a", store=SimpleNamespace(quarantine=None))
    slot = Slot(member, 0)
    monkeypatch.setattr(Slot, "step", lambda _: None)
    await slot.copy.follow([(EntryId(7, 9), NO_RECORDS), (EntryId(8, 0), NO_RECORDS)])
    assert (slot.held, slot.content) == (EntryId(8, 0), EntryId(7, 9))
    await slot.copy.follow([(EntryId(9, 0), NO_RECORDS)])
    assert (slot.held, slot.content) == (EntryId(9, 0), EntryId(7, 9))


async def test_what_an_owner_stores_is_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def write_anew(*_: object) -> Reply:
        return Reply.OK

    async def owners() -> dict[int, SlotHead]:
        return {0: SlotHead(Owner(9, "a"), EntryId(9, 4))}

    rig = Rig(config_text({**STORE, "slots": 1}))
    store = SimpleNamespace(quarantine=None, version=min(FORMATS), write_anew=write_anew, owners=owners)
    workers = SimpleNamespace(halted=nullcontext)
    member: Any = SimpleNamespace(uid="a", pod=rig.engine.pod, store=store, workers=workers, commits=True)
    slot = Slot(member, 0)
    monkeypatch.setattr(Slot, "tell", lambda *_: None)
    slot.held, slot.flushing = EntryId(9, 0), True
    slot.state = replace(slot.state, phase=Phase.SERVING, epoch=9)
    assert slot.next_append() is not None
    slot.appended(Reply.OK)
    assert slot.held == slot.content == EntryId(9, 1)
    slot.state = replace(slot.state, phase=Phase.REWRITING)
    await slot.write_checkpoint()
    assert slot.held == slot.content == EntryId(9, 4)
    rig.close()


async def test_a_copy_that_is_being_read_follows_nothing() -> None:
    """An entry would be a gap, and the reading begin anew, for ever."""
    member: Any = SimpleNamespace(uid="a", store=SimpleNamespace(quarantine=None))
    slot = Slot(member, 0)
    slot.state = replace(slot.state, phase=Phase.CATCHING_UP, need=EntryId(1, 5))
    assert slot.follows
    read = asyncio.Event()
    slot.copy.reading = asyncio.create_task(read.wait())  # type: ignore[arg-type]
    assert not slot.follows
    read.set()
    await slot.copy.reading
    assert slot.follows
