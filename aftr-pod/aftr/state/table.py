"""A table of a slot: records of one cache line or more, and an index of 8-byte words (tag 32 | record number + 1).

The home of a hash is its top bits, which are also the top bits of the tag: a word can be moved or deleted without looking at its record
(backward shift, no tombstones).  Comparing keys is the caller's: `index_probe` gives candidates, in order.
"""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, load32, load64, lshr64, store32, store64
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.state.layout import table_at

_TAG = ~M32


@inline_kernel
def index_home(memory: Memory, table: int, hash_: int) -> int:
    """Byte offset of the index word where probing for `hash_` begins."""
    record = table_at(memory, table)
    return record.index + 8 * lshr64(hash_, 64 - record.bits)


@kernel
def index_probe(memory: Memory, table: int, hash_: int, place: int) -> int:
    """From index word `place` (counted from the home), the next place whose tag matches; -1 at the first empty word."""
    record = table_at(memory, table)
    mask = (1 << record.bits) - 1
    home = lshr64(hash_, 64 - record.bits)
    while place <= mask:
        word = load64(memory, record.index + 8 * ((home + place) & mask))
        if word == 0:
            return -1
        if (word ^ hash_) & _TAG == 0:
            return place
        place += 1
    return -1


@inline_kernel
def index_first(memory: Memory, table: int, hash_: int) -> int:
    """Byte offset of the first record whose tag matches, or 0: what `index_probe` and `index_record` give, in one look."""
    record = table_at(memory, table)
    index, mask = record.index, (1 << record.bits) - 1
    place = lshr64(hash_, 64 - record.bits)
    word = load64(memory, index + 8 * place)
    while (word ^ hash_) & _TAG != 0:
        if word == 0:
            return 0
        place = (place + 1) & mask
        word = load64(memory, index + 8 * place)
    return record.records + (((word & M32) - 1) << record.shift)


@kernel
def index_record(memory: Memory, table: int, hash_: int, place: int) -> int:
    """Byte offset of the record that the index word at `place` names."""
    record = table_at(memory, table)
    mask = (1 << record.bits) - 1
    word = load64(memory, record.index + 8 * ((lshr64(hash_, 64 - record.bits) + place) & mask))
    return record.records + (((word & M32) - 1) << record.shift)


@kernel
def index_insert(memory: Memory, table: int, hash_: int, target: int) -> None:
    """Enter the record at byte offset `target`; the caller made sure that it is not there yet."""
    record = table_at(memory, table)
    mask = (1 << record.bits) - 1
    place = lshr64(hash_, 64 - record.bits)
    while load64(memory, record.index + 8 * place) != 0:
        place = (place + 1) & mask
    number = (target - record.records) >> record.shift
    store64(memory, record.index + 8 * place, (hash_ & _TAG) | (number + 1))


@kernel
def index_remove(memory: Memory, table: int, hash_: int, target: int) -> bool:
    """Take the record's word out, shifting later words back; False when it is not there."""
    record = table_at(memory, table)
    mask = (1 << record.bits) - 1
    shift = 64 - record.bits
    wanted = (hash_ & _TAG) | (((target - record.records) >> record.shift) + 1)
    hole = lshr64(hash_, shift)
    while True:
        word = load64(memory, record.index + 8 * hole)
        if word == 0:
            return False
        if word == wanted:
            break
        hole = (hole + 1) & mask
    place = hole
    while True:
        place = (place + 1) & mask
        word = load64(memory, record.index + 8 * place)
        if word == 0:
            break
        if ((place - lshr64(word, shift)) & mask) >= ((place - hole) & mask):
            store64(memory, record.index + 8 * hole, word)
            hole = place
    store64(memory, record.index + 8 * hole, 0)
    return True


@inline_kernel
def has_room(memory: Memory, table: int) -> bool:
    """Whether `take_record` would find a free record."""
    record = table_at(memory, table)
    return record.free_count > 0 or record.high < record.capacity


@kernel
def take_record(memory: Memory, table: int) -> int:
    """Byte offset of a free record (its bytes are what the last owner left), or 0 when the table is full."""
    record = table_at(memory, table)
    if record.free_count > 0:
        record.free_count -= 1
        record.live += 1
        return record.records + (load32(memory, record.free + 4 * record.free_count) << record.shift)
    if record.high < record.capacity:
        record.high += 1
        record.live += 1
        return record.records + ((record.high - 1) << record.shift)
    return 0


@kernel
def give_record(memory: Memory, table: int, target: int) -> None:
    """Return a record; its state must already say free."""
    record = table_at(memory, table)
    store32(memory, record.free + 4 * record.free_count, (target - record.records) >> record.shift)
    record.free_count += 1
    record.live -= 1


@inline_kernel
def record_number(memory: Memory, table: int, target: int) -> int:
    """Number of the record at byte offset `target`."""
    record = table_at(memory, table)
    return (target - record.records) >> record.shift


@inline_kernel
def record_offset(memory: Memory, table: int, number: int) -> int:
    """Byte offset of record `number`."""
    record = table_at(memory, table)
    return record.records + (number << record.shift)


@kernel
def clear(memory: Memory, start: int, size: int) -> None:
    """Zero `size` bytes (a multiple of 8) from `start`."""
    for at in range(start, start + size, 8):
        store64(memory, at, 0)
