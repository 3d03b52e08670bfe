"""Output commit and the journal: what is written, what waits for it, and what happens when it does not come (issue State)."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from aftr.ops.loop import work
from aftr.path.commit import AT_ONCE
from aftr.state.journal import commit, drain, waiting
from aftr.state.layout import JOURNAL_RECORDS, PARK_CAPACITY, slot_at
from dslite_contract.journal import Kind, Records
from packets import ACK, FIN, RST, SYN, fragment4, ipv4, sent_to_internet, tcp, udp
from rig import B4, HOST, SERVER, Boot, Endpoint, Output, Rig, b4, inner_of, translated

pytestmark = pytest.mark.nojit


def store(rig: Rig, *, parking: bool = True, slot: int = 0) -> Any:
    """Give a slot a journal; its record."""
    record = slot_at(rig.engine.pod.memory, rig.engine.pod.slot(slot))
    record.journaling, record.parking = 1, int(parking)
    return record


def journal(rig: Rig, slot: int = 0, most: int = JOURNAL_RECORDS) -> Records:
    return drain(rig.engine.pod.memory, rig.engine.pod.slot(slot), most)


def stored(rig: Rig, slot: int = 0) -> list[Output]:
    """Everything written so far is stored: what leaves now."""
    pod = rig.engine.pod
    commit(pod.memory, pod.slot(slot), slot_at(pod.memory, pod.slot(slot)).journal_head)
    rig.step([])
    return rig.timed


def kinds(records: Records) -> list[Kind]:
    return [Kind(kind) for kind in records["kind"]]


def external(output: Output) -> Endpoint:
    packet = inner_of(output)
    return Endpoint(packet.src, packet.sport)


# ------------------------------------------------------------------------------------------------ what is written
def test_a_mapping_and_its_block_are_written_before_the_packet_leaves(rig: Rig) -> None:
    store(rig)
    assert rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER)) == []
    rig.counted(access={"rx": 1, "held": 1}, events={"parked": 1, "mappings-created": 1})
    block, mapping = records = journal(rig)
    assert kinds(records) == [Kind.BLOCK_TAKEN, Kind.MAPPING]
    (output,) = stored(rig)
    endpoint = external(output)
    assert output == sent_to_internet(
        translated(ipv4(udp(5000, 53), src=HOST, dst=SERVER), endpoint, udp(endpoint.port, 53))
    )
    assert (
        IPv4Address(int(mapping["external_address"])) == endpoint.address == IPv4Address(int(block["external_address"]))
    )
    assert (mapping["external_port"], mapping["internal_port"], mapping["protocol"]) == (endpoint.port, 5000, 17)
    assert IPv4Address(int(mapping["internal_address"])) == IPv4Address(HOST)
    assert block["external_port"] == endpoint.port // 256 * 256
    assert block["bits"] == 56
    rig.counted(access={"forwarded": 1, "held": -1}, internet={"tx": 1})


def test_without_a_journal_nothing_is_written_and_nothing_waits(rig: Rig) -> None:
    rig.open(udp(5000, 53))
    pod = rig.engine.pod
    assert waiting(pod.memory, pod.slot(0)) == 0


def test_with_durability_none_nothing_waits(rig: Rig) -> None:
    store(rig, parking=False)
    rig.open(udp(5000, 53))
    assert kinds(journal(rig)) == [Kind.BLOCK_TAKEN, Kind.MAPPING]


def test_an_end_is_written_with_its_block(rig: Rig) -> None:
    store(rig, parking=False)
    endpoint = rig.open(udp(5000, 53))
    journal(rig)
    rig.wait(302)
    removed, released = records = journal(rig)
    assert kinds(records) == [Kind.MAPPING_REMOVED, Kind.BLOCK_RELEASED]
    assert (removed["external_port"], removed["protocol"]) == (endpoint.port, 17)
    assert released["external_port"] == endpoint.port // 256 * 256


def test_a_tcp_connection_is_written_when_it_is_established_and_when_it_is_over(rig: Rig) -> None:
    store(rig, parking=False)
    endpoint = rig.open(tcp(5000, 80, SYN))
    rig.down(ipv4(tcp(80, endpoint.port, SYN | ACK), src=SERVER, dst=endpoint.address))
    rig.up(ipv4(tcp(5000, 80, ACK), src=HOST, dst=SERVER))
    assert journal(rig)["flags"].tolist() == [0, 0, 1]
    rig.up(ipv4(tcp(5000, 80, FIN | ACK), src=HOST, dst=SERVER))
    rig.down(ipv4(tcp(80, endpoint.port, FIN | ACK), src=SERVER, dst=endpoint.address))
    assert journal(rig)["flags"].tolist() == [0]
    rig.open(tcp(5001, 80, SYN))
    journal(rig)
    rig.up(ipv4(tcp(5001, 80, RST), src=HOST, dst=SERVER))
    assert len(journal(rig)) == 0


def test_o06_a_changed_b4_address_is_written(boot: Boot) -> None:
    rig = boot()
    store(rig, parking=False)
    rig.open(udp(5000, 53), b4=b4(1, 1))
    journal(rig)
    rig.open(udp(5000, 53), b4=b4(1, 2))
    old, new = records = journal(rig)
    assert kinds(records) == [Kind.SOFTWIRE_FROM, Kind.SOFTWIRE_TO]
    assert (int(old["lo"]), int(new["lo"])) == (1, 2)


def test_the_journal_is_a_ring(rig: Rig) -> None:
    record = store(rig, parking=False)
    record.journal_head = record.journal_tail = record.committed = JOURNAL_RECORDS - 1
    endpoint = rig.open(udp(5000, 53))
    block, mapping = journal(rig)
    assert mapping["external_port"] == endpoint.port
    assert block["kind"] == Kind.BLOCK_TAKEN
    assert record.journal_tail == record.journal_head == JOURNAL_RECORDS + 1


# ------------------------------------------------------------------------------------------------ what waits
def test_only_packets_before_the_commit_wait(rig: Rig) -> None:
    store(rig)
    packets = [ipv4(udp(5000, 53, bytes([number])), src=HOST, dst=SERVER) for number in range(4)]
    assert rig.up(packets[0]) == rig.up(packets[1]) == []
    first, second = stored(rig)
    endpoint = external(first)
    assert second == sent_to_internet(translated(packets[1], endpoint, udp(endpoint.port, 53, bytes([1]))))
    for packet in packets[2:]:
        assert [external(output) for output in rig.up(packet)] == [endpoint]
    rig.counted(access={"rx": 4, "forwarded": 4}, internet={"tx": 4}, events={"parked": 2})


def test_packets_leave_in_the_order_of_their_commits(rig: Rig) -> None:
    record = store(rig)
    rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER))
    first = record.journal_head
    rig.up(ipv4(udp(5001, 53), src=HOST, dst=SERVER))
    commit(rig.engine.pod.memory, rig.engine.pod.slot(0), first)
    rig.step([])
    assert [inner_of(output).dport for output in rig.timed] == [53]
    assert len(stored(rig)) == 1


def test_an_answer_makes_the_mapping_an_ordinary_one(rig: Rig) -> None:
    store(rig)
    rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER))
    (output,) = stored(rig)
    endpoint = external(output)
    for _ in range(2):
        outputs = rig.down(ipv4(udp(53, endpoint.port), src=SERVER, dst=endpoint.address))
        assert outputs == [rig.to_softwire(ipv4(udp(53, 5000), src=SERVER, dst=HOST, ttl=63), outputs, b4=B4)]


def test_what_is_not_stored_in_a_second_is_dropped_and_may_come_again(rig: Rig) -> None:
    store(rig)
    rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER))
    rig.since()
    rig.wait(0.9)
    rig.counted()
    rig.wait(0.1)
    rig.counted(access={"dropped": 1, "held": -1}, drops={"drop-commit-timeout": 1})
    assert rig.timed == []
    assert stored(rig) == []
    assert len(rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER))) == 1


def test_too_many_wait(rig: Rig) -> None:
    store(rig)
    frame = ipv4(udp(5000, 53), src=HOST, dst=SERVER)
    for _ in range(PARK_CAPACITY):
        rig.up(frame)
    rig.since()
    rig.up(frame)
    rig.was_dropped("access", "drop-commit-backlog")
    rig.up(ipv4(udp(5001, 53), src=HOST, dst=SERVER))
    rig.was_dropped("access", "drop-commit-backlog", events={"mappings-created": 0})
    assert len(stored(rig)) == PARK_CAPACITY


def test_what_is_stored_leaves_in_portions_that_a_device_can_take(rig: Rig) -> None:
    record = store(rig)
    for _ in range(AT_ONCE + 3):
        rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER))
    rig.since()
    pod = rig.engine.pod
    commit(pod.memory, pod.slot(0), record.journal_head)
    assert [work(pod.memory, pod.workers[0], False, 0, 0, 0, False) for _ in range(3)] == [AT_ONCE, 3, 0]
    rig.step([])
    assert len(rig.timed) == AT_ONCE + 3
    rig.counted(access={"forwarded": AT_ONCE + 3, "held": -AT_ONCE - 3}, internet={"tx": AT_ONCE + 3})


def test_a_full_journal_refuses_mappings_and_keeps_room_for_ends(rig: Rig) -> None:
    record = store(rig, parking=False)
    endpoint = rig.open(udp(5000, 53))
    record.journal_tail = record.journal_head - (JOURNAL_RECORDS - 1000)
    rig.since()
    rig.up(ipv4(udp(5001, 53), src=HOST, dst=SERVER))
    rig.was_dropped("access", "drop-commit-backlog")
    assert rig.open(udp(5000, 54)) == endpoint
    rig.wait(302)
    assert rig.since()["events"]["mappings-removed"] == 1
    record.journal_tail = record.journal_head


def test_an_end_waits_for_room_in_the_journal(rig: Rig) -> None:
    record = store(rig, parking=False)
    rig.open(udp(5000, 53))
    rig.since()
    record.journal_tail = record.journal_head - JOURNAL_RECORDS
    rig.wait(302)
    assert "mappings-removed" not in rig.since()["events"]
    record.journal_tail = record.journal_head
    rig.wait(1)
    assert rig.since()["events"]["mappings-removed"] == 1


def test_fragments_wait_behind_their_first(rig: Rig) -> None:
    store(rig)
    packet = ipv4(udp(5000, 53, bytes(900)), src=HOST, dst=SERVER, df=False)
    first, *later = fragment4(packet, [304, 304])
    for fragment in (later[0], first, later[1]):
        assert rig.up(fragment) == []
    outputs = stored(rig)
    assert sorted(inner_of(output).offset for output in outputs) == [0, 304, 608]
    assert inner_of(outputs[0]).offset == 0
    assert len({inner_of(output).identification for output in outputs}) == 1


def test_n06_a_hairpinned_packet_waits(rig: Rig) -> None:
    target = rig.open(udp(7000, 9), b4=b4(2))
    store(rig)
    packet = ipv4(udp(5000, target.port), src=HOST, dst=target.address)
    assert rig.up(packet) == []
    (output,) = stored(rig)
    assert output[0] == "access"
    assert inner_of(output).dport == 7000


# ------------------------------------------------------------------------------------------------ a slot that moves
def test_a_frozen_slot_makes_and_ends_nothing(rig: Rig) -> None:
    record = store(rig, parking=False)
    endpoint = rig.open(udp(5000, 53))
    record.frozen = 1
    rig.since()
    rig.up(ipv4(udp(5001, 53), src=HOST, dst=SERVER))
    rig.was_dropped("access", "drop-slot-frozen")
    assert rig.open(udp(5000, 54)) == endpoint
    rig.wait(400)
    assert rig.since()["events"] == {}
    record.frozen = 0
    rig.wait(1)
    assert rig.since()["events"]["mappings-removed"] == 1


def test_blocks_may_be_refused_while_mappings_go_on(rig: Rig) -> None:
    record = store(rig, parking=False)
    rig.open(udp(5000, 53))
    record.refuse_blocks = 1
    rig.open(udp(5001, 53))
    rig.since()
    rig.up(ipv4(udp(5000, 53), src=HOST, dst=SERVER), b4=b4(2))
    rig.was_dropped("access", "drop-commit-backlog")
