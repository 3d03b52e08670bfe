"""Token buckets: new sessions per subscriber (row C01), ICMP messages per subscriber and slot (row I03), answers to neighbours."""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory
from aftr.lowlevel.kernel import kernel
from aftr.state.layout import SLOT, SUBSCRIBER, bucket_at, group_at, slot_at, subscriber_at

TOKEN = 1000  # thousandths: a rate per second is thousandths per millisecond
SOFTWIRE_ICMP_RATE, SOFTWIRE_ICMP_BURST = 50, 100
INTERNET_ICMP_RATE, INTERNET_ICMP_BURST = 1000, 1000
NEIGHBOUR_RATE, NEIGHBOUR_BURST = 1000, 1000
MAPPING_BYTES = 96  # record, index word at load 1/2, reverse and free-list entries
SESSION_BYTES = 52
_SESSION_BUCKET = SUBSCRIBER.fields["session_tokens"][1]  # type: ignore[index]
_ICMP_BUCKET = SUBSCRIBER.fields["icmp_tokens"][1]  # type: ignore[index]
_SLOT_BUCKET = SLOT.fields["icmp_tokens"][1]  # type: ignore[index]
_NEIGHBOUR_BUCKET = SLOT.fields["neighbour_tokens"][1]  # type: ignore[index]


@kernel
def refill(tokens: int, last: int, now: int, rate: int, burst: int) -> int:
    """Thousandths of tokens after the milliseconds between the stamps, at most `burst` tokens."""
    elapsed = (now - last) & M32
    return min(tokens + min(elapsed, 3_600_000) * rate, burst * TOKEN)


@kernel
def take_token(memory: Memory, bucket: int, now: int, rate: int, burst: int) -> bool:
    """Whether the bucket at byte offset `bucket` has a token at `now`; takes it."""
    record = bucket_at(memory, bucket)
    tokens = refill(record.tokens, record.time, now, rate, burst)
    record.time = now & M32
    allowed = tokens >= TOKEN
    record.tokens = tokens - TOKEN if allowed else tokens
    return allowed


@kernel
def take_session_token(memory: Memory, subscriber: int, now: int) -> bool:
    """Whether the subscriber may open a session now; takes the token."""
    group = group_at(memory, subscriber_at(memory, subscriber).group_entry)
    return take_token(memory, subscriber + _SESSION_BUCKET, now, group.session_rate, group.session_burst)


@kernel
def take_softwire_icmp_token(memory: Memory, subscriber: int, now: int) -> bool:
    """Whether one more ICMP message may be sent into a softwire of this subscriber."""
    return take_token(memory, subscriber + _ICMP_BUCKET, now, SOFTWIRE_ICMP_RATE, SOFTWIRE_ICMP_BURST)


@kernel
def take_internet_icmp_token(memory: Memory, slot: int, now: int) -> bool:
    """Whether the slot may send one more ICMP message of its own to the internet, or answer one more ICMPv6 echo."""
    return take_token(memory, slot + _SLOT_BUCKET, now, INTERNET_ICMP_RATE, INTERNET_ICMP_BURST)


@kernel
def take_neighbour_token(memory: Memory, slot: int, now: int) -> bool:
    """Whether the slot may answer one more ARP request or neighbour solicitation."""
    return take_token(memory, slot + _NEIGHBOUR_BUCKET, now, NEIGHBOUR_RATE, NEIGHBOUR_BURST)


@kernel
def memory_of(memory: Memory, slot: int, subscriber: int) -> int:
    """Bytes that a subscriber's state occupies: mappings, further sessions, port blocks, fragments held."""
    record = subscriber_at(memory, subscriber)
    mappings = record.mappings * MAPPING_BYTES + record.extra_sessions * SESSION_BYTES
    return mappings + record.blocks * slot_at(memory, slot).block_stride + record.context_bytes
