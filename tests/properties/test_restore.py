"""A copy built from a slot's journal, or from a checkpoint and the journal after it, is the slot (issue State)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftr.ops.copies import apply, close, open_restored, snapshot, stop
from aftr.ops.tables import slots
from aftr.state.journal import drain, peek
from aftr.state.layout import JOURNAL_RECORDS, SLOT_MAPPINGS, slot_at, table_at
from dslite_contract.bounds import bounds_of, faults
from dslite_contract.journal import RECORD, Kind, Records
from packets import ACK, SYN, echo, ipv4, tcp, udp
from properties.mutants import Numbers
from rig import HOST, SERVER, Rig, b4, config_text

SPEC: dict[str, Any] = {
    "slots": 1,
    "nat": {
        "pools": [{"name": "default", "prefixes": ["192.0.2.0/30"]}],
        "portBlock": {"size": 64, "holdDownSeconds": 60},
    },
}


class Owner:
    """A slot with a journal, and random traffic on it."""

    def __init__(self, seed: int, spec: dict[str, Any] = SPEC) -> None:
        self.rig, self.numbers = Rig(config_text(spec)), Numbers(seed)
        self.pod = self.rig.engine.pod
        slot_at(self.pod.memory, self.pod.slot(0)).journaling = 1

    def journal(self) -> Records:
        return drain(self.pod.memory, self.pod.slot(0), JOURNAL_RECORDS)

    def act(self) -> None:
        """One packet, or some time."""
        choice, home, port = self.numbers.below(10), b4(self.numbers.below(5), 1), 5000 + self.numbers.below(90)
        if choice < 5:
            self.rig.up(ipv4(udp(port, 53), src=HOST, dst=SERVER), b4=home)
        elif choice < 7:
            self.rig.up(ipv4(tcp(port, 80, SYN), src=HOST, dst=SERVER), b4=home)
        elif choice == 7:
            self.rig.up(ipv4(echo(port), src=HOST, dst=SERVER), b4=home)
        elif choice == 8:
            self.answer()
        else:
            self.rig.wait(1 + self.numbers.below(200))

    def answer(self) -> None:
        """A SYN and ACK to some TCP mapping."""
        tcps = [entry for entry in self.rig.engine.bindings() if entry["protocol"] == "tcp"]
        if tcps:
            entry = tcps[self.numbers.below(len(tcps))]
            packet = tcp(80, entry["externalPort"], SYN | ACK)
            self.rig.down(ipv4(packet, src=SERVER, dst=entry["externalAddress"]))


def taken_over(records: list[Records], now_ms: int, spec: dict[str, Any] = SPEC) -> Rig:
    """Another AFTR that has opened the slot from these records."""
    other = Rig(config_text(spec), start=now_ms / 1000)
    other.step([])
    close(other.engine.pod, 0)
    failed = sum(apply(other.engine.pod, 0, piece, 0) for piece in records)
    assert failed == 0
    open_restored(other.engine.pod, 0, 0, 0)
    return other


def essence(rig: Rig) -> list[tuple[Any, ...]]:
    """Bindings without what is not stored: ages and sessions."""
    names = ("softwire", "protocol", "internalAddress", "internalPort", "externalAddress", "externalPort")
    return sorted(tuple(entry[name] for name in names) for entry in rig.engine.bindings())


@pytest.mark.nojit
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 30), actions=st.integers(1, 120), parts=st.integers(1, 7))
def test_a_copy_from_the_journal_is_the_slot(seed: int, actions: int, parts: int) -> None:
    owner = Owner(seed)
    for _ in range(actions):
        owner.act()
    whole = owner.journal()
    copy = taken_over(list(np.array_split(whole, parts)), owner.rig.now // 1_000_000)
    assert essence(copy) == essence(owner.rig)
    assert copy.engine.check() == []
    copy.close()
    owner.rig.close()


@pytest.mark.nojit
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 30), before=st.integers(0, 80), during=st.integers(0, 30), after=st.integers(0, 60))
def test_a_copy_from_a_checkpoint_is_the_slot(seed: int, before: int, during: int, after: int) -> None:
    """The checkpoint is read in pieces while traffic goes on: what it misses is in the journal from where it began."""
    owner = Owner(seed)
    for _ in range(before):
        owner.act()
    owner.journal()  # covered by the checkpoint
    pieces = snapshot(owner.pod, 0)
    blocks = next(pieces)
    for _ in range(during):
        owner.act()
    mappings = list(pieces)
    for _ in range(after):
        owner.act()
    copy = taken_over([blocks, *mappings, owner.journal()], owner.rig.now // 1_000_000)
    assert essence(copy) == essence(owner.rig)
    assert copy.engine.check() == []
    copy.close()
    owner.rig.close()


@pytest.mark.nojit
def test_packets_find_their_hosts_after_a_takeover() -> None:
    owner = Owner(1)
    rig = owner.rig
    datagram, connection = rig.open(udp(5000, 53)), rig.open(tcp(5001, 80, SYN))
    rig.down(ipv4(tcp(80, connection.port, SYN | ACK), src=SERVER, dst=connection.address))
    rig.up(ipv4(tcp(5001, 80, ACK), src=HOST, dst=SERVER))
    copy = taken_over([owner.journal()], rig.now // 1_000_000)
    outputs = copy.down(ipv4(udp(53, datagram.port), src=SERVER, dst=datagram.address))
    assert outputs == [copy.to_softwire(ipv4(udp(53, 5000), src=SERVER, dst=HOST, ttl=63), outputs)]
    outputs = copy.down(ipv4(tcp(80, connection.port, ACK, b"more"), src=SERVER, dst=connection.address))
    assert outputs == [copy.to_softwire(ipv4(tcp(80, 5001, ACK, b"more"), src=SERVER, dst=HOST, ttl=63), outputs)]
    assert copy.open(tcp(5001, 80, ACK)) == connection
    assert copy.open(udp(5000, 53)) == datagram
    copy.wait(290)
    assert len(copy.engine.bindings()) == 2
    copy.wait(7000)
    assert [entry["protocol"] for entry in copy.engine.bindings()] == ["tcp"], "an established connection lives on"
    copy.close()
    rig.close()


@pytest.mark.nojit
def test_what_waited_for_its_record_leaves_once_the_slot_is_taken_again() -> None:
    """An owner whose lease ended takes its own slot again: a checkpoint has stored all, and journal numbers begin anew."""
    owner = Owner(3)
    rig, pod = owner.rig, owner.pod
    slot_at(pod.memory, pod.slot(0)).parking = 1
    rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER))
    owner.journal()
    stop(pod, 0)
    open_restored(pod, 0, 0, rig.now // 1_000_000, journaling=True, parking=True)
    assert len(rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER))) == 1
    rig.close()


@pytest.mark.nojit
def test_a_full_journal_keeps_what_it_has_and_says_that_something_is_missing() -> None:
    """The state of a connection is recorded whether the store answers or not; the tables have it, and so has a checkpoint."""
    owner = Owner(2)
    rig, slot = owner.rig, slot_at(owner.pod.memory, owner.pod.slot(0))
    connection = rig.open(tcp(5001, 80, SYN))
    slot.journal_head = slot.journal_tail + JOURNAL_RECORDS  # not stored for long
    before = peek(owner.pod.memory, owner.pod.slot(0), JOURNAL_RECORDS)
    rig.since()
    rig.down(ipv4(tcp(80, connection.port, SYN | ACK), src=SERVER, dst=connection.address))
    rig.up(ipv4(tcp(5001, 80, ACK), src=HOST, dst=SERVER))
    assert rig.since()["events"]["journal-overrun"] == 1
    assert (slot.overrun, slot.journal_head - slot.journal_tail) == (1, JOURNAL_RECORDS)
    assert (peek(owner.pod.memory, owner.pod.slot(0), JOURNAL_RECORDS) == before).all()
    copy = taken_over(list(snapshot(owner.pod, 0)), rig.now // 1_000_000)
    copy.wait(7000)
    assert len(copy.engine.bindings()) == 1, "it is known to be established"
    copy.close()
    rig.close()


@pytest.mark.nojit
def test_a_block_rests_in_full_after_a_takeover() -> None:
    owner = Owner(2)
    owner.rig.open(udp(5000, 53))
    owner.rig.wait(350)  # its mapping has ended; its block rests
    copy = taken_over([owner.journal()], owner.rig.now // 1_000_000)
    (slot,) = slots(copy.engine.pod)
    assert slot["blocksFree"] == slot["blocks"] - 1
    copy.wait(59)
    copy.wait(2)
    (slot,) = slots(copy.engine.pod)
    assert slot["blocksFree"] == slot["blocks"]
    copy.close()
    owner.rig.close()


@pytest.mark.nojit
def test_a_copy_holds_no_more_than_the_slot() -> None:
    """Softwires and subscribers without mappings leave a copy although no packet or timer is seen there."""
    owner = Owner(3)
    for _ in range(400):
        owner.act()
    owner.rig.wait(8000)
    copy = taken_over([owner.journal()], owner.rig.now // 1_000_000)
    pod = copy.engine.pod
    assert table_at(pod.memory, pod.slot(0) + SLOT_MAPPINGS).live == 0
    assert essence(copy) == []
    assert copy.engine.check() == []
    copy.close()
    owner.rig.close()


@pytest.mark.nojit
def test_records_that_cannot_be_applied_are_counted_and_harm_nothing() -> None:
    records = np.zeros(6, RECORD)
    records["kind"] = [1, 1, 3, 4, 2, 1]
    records["external_address"] = [0xC0000201, 0x08080808, 0xC0000201, 0xC0000201, 0x08080808, 0xC0000201]
    records["external_port"] = [2000, 2000, 10, 10, 2000, 5]
    records["protocol"] = 17
    records["hi"] = [
        0xFD << 56,
        0,
        0xFD << 56,
        0,
        0,
        0x20010DB810000100,
    ]  # no B4Group; no prefix of ours; below the first port
    rig = Rig(config_text(SPEC))
    close(rig.engine.pod, 0)
    assert apply(rig.engine.pod, 0, records, 0) == 6
    open_restored(rig.engine.pod, 0, 0, 0)
    assert rig.engine.bindings() == []
    rig.open(udp(5000, 53))
    rig.close()


def anything(numbers: Numbers, count: int) -> Records:
    """Records whose every field may be right or wrong."""
    found = np.zeros(count, RECORD)
    for record in found:
        record["kind"], record["protocol"] = numbers.below(8), (1, 6, 17, 17, 50)[numbers.below(5)]
        record["flags"], record["bits"] = numbers.below(16), (0, 56, 56, 128, 129)[numbers.below(5)]
        record["external_address"] = 0xC0000200 + numbers.below(5)  # the last one is not the slot's
        record["external_port"] = (1024 + 64 * numbers.below(4) + numbers.below(3), 80, 65535)[numbers.below(9) // 7]
        record["internal_address"], record["internal_port"] = 0x0A000001 + numbers.below(3), 5000 + numbers.below(4)
        record["hi"] = 0x20010DB810000000 + (numbers.below(4) << 8)
        record["lo"] = 1 + numbers.below(2)
    return found


@pytest.mark.nojit
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 30), count=st.integers(1, 200))
def test_whatever_is_not_refused_leaves_tables_that_agree(seed: int, count: int) -> None:
    """Records that nobody ever wrote: what is wrong by itself is named, and the rest, however it contradicts, does no harm."""
    rig = Rig(config_text(SPEC))
    close(rig.engine.pod, 0)
    records = anything(Numbers(seed), count)
    wrong = faults(records, bounds_of(rig.engine.pod.configuration.pool, 0))
    apply(rig.engine.pod, 0, np.delete(records, list(wrong)), 0)
    open_restored(rig.engine.pod, 0, 0, 0)
    assert rig.engine.check() == []
    rig.close()


@pytest.mark.nojit
def test_half_of_a_move_that_is_lost_moves_nothing_else() -> None:
    """The B4 that moved is gone when the other half of a later move comes."""
    records = np.zeros(4, RECORD)
    records["kind"] = [Kind.MAPPING, Kind.SOFTWIRE_FROM, Kind.MAPPING_REMOVED, Kind.SOFTWIRE_TO]
    records["protocol"], records["external_address"], records["external_port"] = 17, 0xC0000201, 1024
    records["hi"], records["lo"] = 0x20010DB810000100, [1, 1, 0, 2]
    rig = Rig(config_text(SPEC))
    close(rig.engine.pod, 0)
    assert apply(rig.engine.pod, 0, records, 0) == 0
    open_restored(rig.engine.pod, 0, 0, 0)
    assert rig.engine.check() == []
    rig.close()
