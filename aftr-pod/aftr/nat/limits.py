"""Token buckets: new sessions per subscriber (row C01), ICMP messages per subscriber and slot (row I03)."""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory
from aftr.lowlevel.kernel import kernel
from aftr.state.layout import SLOT_SESSIONS, group_at, slot_at, subscriber_at, table_at

TOKEN = 1000  # thousandths: a rate per second is thousandths per millisecond
SOFTWIRE_ICMP_RATE, SOFTWIRE_ICMP_BURST = 50, 100
INTERNET_ICMP_RATE, INTERNET_ICMP_BURST = 1000, 1000
MAPPING_BYTES = 96  # record, index word at load 1/2, reverse and free-list entries
SESSION_BYTES = 52


@kernel
def refill(tokens: int, last: int, now: int, rate: int, burst: int) -> int:
    """Thousandths of tokens after the milliseconds between the stamps, at most `burst` tokens."""
    elapsed = (now - last) & M32
    return min(tokens + min(elapsed, 3_600_000) * rate, burst * TOKEN)


@kernel
def take_session_token(memory: Memory, subscriber: int, now: int) -> bool:
    """Whether the subscriber may open a session now; takes the token."""
    record = subscriber_at(memory, subscriber)
    group = group_at(memory, record.group_entry)
    tokens = refill(record.session_tokens, record.session_time, now, group.session_rate, group.session_burst)
    record.session_time = now & M32
    allowed = tokens >= TOKEN
    record.session_tokens = tokens - TOKEN if allowed else tokens
    return allowed


@kernel
def take_softwire_icmp_token(memory: Memory, subscriber: int, now: int) -> bool:
    """Whether one more ICMP message may be sent into a softwire of this subscriber."""
    record = subscriber_at(memory, subscriber)
    tokens = refill(record.icmp_tokens, record.icmp_time, now, SOFTWIRE_ICMP_RATE, SOFTWIRE_ICMP_BURST)
    record.icmp_time = now & M32
    allowed = tokens >= TOKEN
    record.icmp_tokens = tokens - TOKEN if allowed else tokens
    return allowed


@kernel
def take_internet_icmp_token(memory: Memory, slot: int, now: int) -> bool:
    """Whether the slot may send one more ICMP message of its own to the internet, or answer one more ICMPv6 echo."""
    record = slot_at(memory, slot)
    tokens = refill(record.icmp_tokens, record.icmp_time, now, INTERNET_ICMP_RATE, INTERNET_ICMP_BURST)
    record.icmp_time = now & M32
    allowed = tokens >= TOKEN
    record.icmp_tokens = tokens - TOKEN if allowed else tokens
    return allowed


@kernel
def memory_of(memory: Memory, slot: int, subscriber: int) -> int:
    """Bytes that a subscriber's state occupies: mappings, further sessions, port blocks, fragments held."""
    record = subscriber_at(memory, subscriber)
    mappings = record.mappings * MAPPING_BYTES + record.extra_sessions * SESSION_BYTES
    return mappings + record.blocks * slot_at(memory, slot).block_stride + record.context_bytes


@kernel
def sessions_left(memory: Memory, slot: int) -> bool:
    """Whether the table of further sessions has room."""
    table = table_at(memory, slot + SLOT_SESSIONS)
    return table.free_count > 0 or table.high < table.capacity
