"""The check of all tables finds each kind of damage, and names it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

import packets
from aftr.ops.invariants import check_pod
from aftr.ops.tables import rows
from aftr.state.frames import frames_at
from aftr.state.layout import (
    LINE,
    MAPPING,
    SLOT_MAPPINGS,
    SLOT_SOFTWIRES,
    SLOT_SUBSCRIBERS,
    SOFTWIRE,
    SUBSCRIBER,
    slot_at,
    table_at,
    worker_at,
)
from aftr.state.pod import Pod
from packets import ipv4, udp
from rig import HOST, SERVER, Rig, b4, config_text

Damage = Callable[[Pod, int], None]


@pytest.fixture
def pod() -> Iterator[Pod]:
    """Slot 0 with ten mappings of two B4s, two of them with two sessions, and a fragment that waits for others."""
    rig = Rig(config_text({"slots": 2}))
    for number in range(10):
        rig.open(udp(5000 + number, 53), b4=b4(number % 2))
    for number in range(2):
        rig.open(udp(5000 + number, 53), b4=b4(number), dst="203.0.113.9")
    rig.up(packets.fragment4(ipv4(udp(6000, 53, bytes(900)), src=HOST, dst=SERVER, df=False), [304, 304])[1], b4=b4(1))
    yield rig.engine.pod
    rig.engine.close()


def first(pod: Pod, slot: int, table: int, dtype: object) -> object:
    return rows(pod, slot, table, dtype)[:1]  # type: ignore[arg-type]


def lose_a_frame(pod: Pod, slot: int) -> None:
    frames_at(pod.memory, worker_at(pod.memory, pod.workers[0]).frames).count -= 1


def free_a_frame_twice(pod: Pod, slot: int) -> None:
    frames_at(pod.memory, worker_at(pod.memory, pod.workers[0]).frames).overflow += 1


def miscount_a_table(pod: Pod, slot: int) -> None:
    table_at(pod.memory, slot + SLOT_MAPPINGS).live += 1


def field(table: int, dtype: object, name: str, change: int) -> Damage:
    def damage(pod: Pod, slot: int) -> None:
        first(pod, slot, table, dtype)[name] += change  # type: ignore[index]

    return damage


def drop_a_reverse_entry(pod: Pod, slot: int) -> None:
    mapping = rows(pod, slot, SLOT_MAPPINGS, MAPPING)[0]
    word = (int(mapping["external"]) * 3 + 2) * 65536 + int(mapping["external_port"])
    at = slot_at(pod.memory, slot).reverse + 4 * word
    pod.memory[at : at + 4] = 0


def used_block(pod: Pod, slot: int) -> int:
    record, mapping = slot_at(pod.memory, slot), rows(pod, slot, SLOT_MAPPINGS, MAPPING)[0]
    number = (int(mapping["external_port"]) - record.first_port) >> record.block_shift
    return int(record.blocks + (int(mapping["external"]) * record.blocks_per_address + number) * record.block_stride)


def leak_a_port(pod: Pod, slot: int) -> None:
    """Used in the bitmap for TCP, of which the block has no mapping."""
    at = used_block(pod, slot) + LINE + (1 << slot_at(pod.memory, slot).block_shift) // 8
    pod.memory[at] ^= 1


def miscount_a_block(pod: Pod, slot: int) -> None:
    pod.memory[used_block(pod, slot) + 40] += 1  # used_udp


def miscount_context_bytes(pod: Pod, slot: int) -> None:
    slot_at(pod.memory, slot).context_bytes += 8


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lose_a_frame, "1 of .* frames leaked"),
        (free_a_frame_twice, "1 frames were freed twice"),
        (miscount_a_table, "slot 0: mappings: 10 in use, 10 indexed, 11 counted"),
        (field(SLOT_SOFTWIRES, SOFTWIRE, "mappings", 1), "softwire 0: its mappings are counted wrong"),
        (field(SLOT_SUBSCRIBERS, SUBSCRIBER, "softwires", 1), "subscriber 0: its softwires are counted wrong"),
        (field(SLOT_SUBSCRIBERS, SUBSCRIBER, "mappings", 1), "subscriber 0: its mappings are counted wrong"),
        (field(SLOT_SUBSCRIBERS, SUBSCRIBER, "sessions", 1), "subscriber 0: its sessions are counted wrong"),
        (field(SLOT_SUBSCRIBERS, SUBSCRIBER, "contexts", 1), "subscriber 0: its contexts are counted wrong"),
        (drop_a_reverse_entry, "mapping 0: its reverse entry names another"),
        (field(SLOT_MAPPINGS, MAPPING, "external_port", 1), "mapping 0: its reverse entry names another"),
        (field(SLOT_MAPPINGS, MAPPING, "sessions", 1), "mapping 0: its sessions are not those"),
        (leak_a_port, r"block \d+: its bitmaps do not show the ports"),
        (miscount_a_block, r"block \d+: its counts are not those"),
        (miscount_context_bytes, "fragment contexts hold"),
    ],
)
def test_damage_is_found(pod: Pod, damage: Damage, sentence: str) -> None:
    assert check_pod(pod) == []
    damage(pod, pod.slot(0))
    found = check_pod(pod)
    assert any(re.search(sentence, problem) for problem in found), found


def test_frames_in_devices_are_not_leaked(pod: Pod) -> None:
    frames_at(pod.memory, worker_at(pod.memory, pod.workers[0]).frames).count -= 3
    assert check_pod(pod, in_devices=3) == []
