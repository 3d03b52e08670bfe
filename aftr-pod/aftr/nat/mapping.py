"""Mappings and sessions (rows D09, D10, N01, T04, C08).

Mapping: (softwire, inner address, protocol, port) <-> external endpoint.  Its first session lies in the same cache line; further ones are
records of their own, chained from the mapping and indexed by (mapping, remote endpoint).
"""

from __future__ import annotations

from aftr.lowlevel.bits import M32, Memory, add64, load32, load64, store32
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.nat.blocks import EXTERNAL_SIZE, release_endpoint, reverse_word, take_endpoint
from aftr.nat.limits import MAPPING_BYTES, SESSION_BYTES, memory_of, take_session_token
from aftr.nat.subscriber import subscriber_of
from aftr.nat.tcp import is_established
from aftr.state.counters import count_event
from aftr.state.hashing import hash_pair
from aftr.state.journal import (
    ESTABLISHED_FLAG,
    MAPPING_RECORD,
    MAPPING_REMOVED,
    PUBLIC_FLAG,
    UNTRANSLATED_FLAG,
    journal_room,
    write_record,
)
from aftr.state.layout import (
    ADDRESS_DEPENDENT,
    BYPASSED,
    ENDPOINT_INDEPENDENT,
    IN_SEEN,
    LIVE,
    MAPPING,
    OUT_SEEN,
    PENDING,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    PUBLIC_SOURCE,
    SESSION,
    SLOT_MAPPINGS,
    SLOT_SESSIONS,
    SLOT_SOFTWIRES,
    UNTRANSLATED_KEY,
    WAS_ESTABLISHED,
    external_at,
    group_at,
    mapping_at,
    pod_at,
    session_at,
    slot_at,
    softwire_at,
    subscriber_at,
    worker_at,
)
from aftr.state.reasons import (
    BYPASS_CLAIMED,
    MAPPINGS_CREATED,
    MAPPINGS_REMOVED,
    MEMORY_LIMIT,
    SESSION_LIMIT,
    SESSION_RATE,
    SESSIONS_CREATED,
    SESSIONS_REMOVED,
    TABLE_FULL,
)
from aftr.state.table import (
    clear,
    give_record,
    has_room,
    index_insert,
    index_probe,
    index_record,
    index_remove,
    record_number,
    record_offset,
    take_record,
)

_BOTH = OUT_SEEN | IN_SEEN
MAPPING_SIZE, SESSION_SIZE = MAPPING.itemsize, SESSION.itemsize


# ---------------------------------------------------------------- keys
@inline_kernel
def mapping_key(softwire_number: int, address: int) -> int:
    """First 8 bytes of a mapping record, as loaded."""
    return add64(address << 32, softwire_number)


@inline_kernel
def port_key(protocol: int, port: int) -> int:
    """Next 3 bytes of a mapping record, as loaded; the fourth is its state."""
    return port | protocol << 16


@inline_kernel
def mapping_hash(memory: Memory, key: int, port: int) -> int:
    """Hash of both parts of a mapping's key."""
    pod = pod_at(memory, 0)
    return hash_pair(key, port, pod.secret1, pod.secret2, pod.secret3)


@kernel
def find_mapping(memory: Memory, slot: int, key: int, port: int) -> int:
    """The mapping record of an inner endpoint, or 0."""
    table = slot + SLOT_MAPPINGS
    hash_ = mapping_hash(memory, key, port)
    place = index_probe(memory, table, hash_, 0)
    while place >= 0:
        mapping = index_record(memory, table, hash_, place)
        if load64(memory, mapping) == key and load32(memory, mapping + 8) & 0xFFFFFF == port:
            return mapping
        place = index_probe(memory, table, hash_, place + 1)
    return 0


@kernel
def find_reverse(memory: Memory, slot: int, external: int, protocol: int, port: int) -> int:
    """The mapping record of an external endpoint, or 0."""
    number = load32(memory, reverse_word(memory, slot, external, protocol, port))
    return record_offset(memory, slot + SLOT_MAPPINGS, number - 1) if number > 0 else 0


@kernel
def find_any_mapping(memory: Memory, slot: int, key: int, port: int) -> int:
    """The mapping of an inner endpoint, translated or not, or 0."""
    mapping = find_mapping(memory, slot, key, port)
    return mapping if mapping > 0 else find_mapping(memory, slot, key | UNTRANSLATED_KEY, port)


@inline_kernel
def softwire_of(memory: Memory, slot: int, mapping: int) -> int:
    """The softwire record of a mapping record."""
    return record_offset(memory, slot + SLOT_SOFTWIRES, mapping_at(memory, mapping).softwire & ~UNTRANSLATED_KEY)


# ---------------------------------------------------------------- checksum deltas (RFC 1624)
@inline_kernel
def fold(total: int) -> int:
    """One's complement sum of a sum below 2**48 in 16 bits."""
    total = (total & 0xFFFF) + ((total >> 16) & 0xFFFF) + (total >> 32)
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


@kernel
def set_external(memory: Memory, mapping: int, address: int, port: int) -> None:
    """Write the external endpoint and what it changes in the checksums of outbound packets."""
    record = mapping_at(memory, mapping)
    record.external_address = address
    record.external_port = port
    inner = record.internal_address ^ M32
    delta = fold((inner & 0xFFFF) + (inner >> 16) + (address & 0xFFFF) + (address >> 16))
    record.address_delta = delta
    record.transport_delta = fold(delta + (record.internal_port ^ 0xFFFF) + port)


# ---------------------------------------------------------------- sessions
@inline_kernel
def needs_session(memory: Memory, protocol: int) -> bool:
    """TCP always; UDP and ICMP only under dependent filtering."""
    return protocol == PROTOCOL_TCP or pod_at(memory, 0).filtering != ENDPOINT_INDEPENDENT


@inline_kernel
def session_port(memory: Memory, protocol: int, port: int) -> int:
    """The remote port that tells sessions apart: under address-dependent filtering UDP sessions are per address."""
    by_address = protocol != PROTOCOL_TCP and pod_at(memory, 0).filtering == ADDRESS_DEPENDENT
    return 0 if by_address else port


@inline_kernel
def session_hash(memory: Memory, mapping: int, address: int, port: int) -> int:
    """Hash of (mapping, remote endpoint); without the port where any session with that address admits."""
    pod = pod_at(memory, 0)
    if pod.filtering == ADDRESS_DEPENDENT:
        port = 0
    return hash_pair(mapping, address << 16 | port, pod.secret2, pod.secret3, pod.secret0)


@kernel
def find_session(memory: Memory, slot: int, mapping: int, address: int, port: int) -> int:
    """The further session of a mapping with this remote endpoint (port -1: with any port), or 0."""
    table = slot + SLOT_SESSIONS
    hash_ = session_hash(memory, mapping, address, max(port, 0))
    number = record_number(memory, slot + SLOT_MAPPINGS, mapping)
    place = index_probe(memory, table, hash_, 0)
    while place >= 0:
        session = index_record(memory, table, hash_, place)
        record = session_at(memory, session)
        if record.mapping == number and record.remote_address == address and (port < 0 or record.remote_port == port):
            return session
        place = index_probe(memory, table, hash_, place + 1)
    return 0


@inline_kernel
def is_first_session(memory: Memory, mapping: int, address: int, port: int) -> bool:
    """Whether the session inside the mapping's own line is the one with this remote endpoint."""
    record = mapping_at(memory, mapping)
    return record.session_state == LIVE and record.remote_address == address and record.remote_port == port


@kernel
def open_session(memory: Memory, worker: int, slot: int, mapping: int, address: int, port: int, flags: int) -> bool:
    """Add a session seen from inside, with its first segment's TCP flags; False when the table is full. The caller asked the limits."""
    record, now = mapping_at(memory, mapping), worker_at(memory, worker).now
    if record.session_state != LIVE:
        record.session_state = LIVE
        record.remote_address = address
        record.remote_port = port
        record.session_flags = flags
        record.session_seen = now
    else:
        session = take_record(memory, slot + SLOT_SESSIONS)
        if session == 0:
            return False
        extra = session_at(memory, session)
        extra.mapping = record_number(memory, slot + SLOT_MAPPINGS, mapping)
        extra.remote_address = address
        extra.remote_port = port
        extra.flags = flags
        extra.state = LIVE
        extra.seen = now
        extra.next_ref = record.more_ref
        record.more_ref = record_number(memory, slot + SLOT_SESSIONS, session) + 1
        index_insert(memory, slot + SLOT_SESSIONS, session_hash(memory, mapping, address, port), session)
        subscriber_at(memory, subscriber_of(memory, slot, softwire_of(memory, slot, mapping))).extra_sessions += 1
    record.sessions += 1
    count_event(memory, worker, SESSIONS_CREATED, 1)
    return True


@kernel
def remove_session(memory: Memory, worker: int, slot: int, session: int) -> None:
    """End a further session."""
    extra = session_at(memory, session)
    mapping = record_offset(memory, slot + SLOT_MAPPINGS, extra.mapping)
    record = mapping_at(memory, mapping)
    reference = record_number(memory, slot + SLOT_SESSIONS, session) + 1
    if record.more_ref == reference:
        record.more_ref = extra.next_ref
    else:
        before = record.more_ref
        while before > 0:
            previous = session_at(memory, record_offset(memory, slot + SLOT_SESSIONS, before - 1))
            if previous.next_ref == reference:
                previous.next_ref = extra.next_ref
                break
            before = previous.next_ref
    hash_ = session_hash(memory, mapping, extra.remote_address, extra.remote_port)
    index_remove(memory, slot + SLOT_SESSIONS, hash_, session)
    extra.state = 0
    give_record(memory, slot + SLOT_SESSIONS, session)
    subscriber = subscriber_at(memory, subscriber_of(memory, slot, softwire_of(memory, slot, mapping)))
    subscriber.extra_sessions -= 1
    record.sessions -= 1
    if record.sessions > 0 or record.session_state == LIVE:
        subscriber.sessions -= 1
    count_event(memory, worker, SESSIONS_REMOVED, 1)


@kernel
def remove_first_session(memory: Memory, worker: int, slot: int, mapping: int) -> None:
    """End the session inside the mapping's line; a further one takes its place."""
    record = mapping_at(memory, mapping)
    if record.more_ref > 0:
        session = record_offset(memory, slot + SLOT_SESSIONS, record.more_ref - 1)
        extra = session_at(memory, session)
        address, port, flags, seen = extra.remote_address, extra.remote_port, extra.flags, extra.seen
        remove_session(memory, worker, slot, session)
        record.remote_address = address
        record.remote_port = port
        record.session_flags = flags
        record.session_seen = seen
        return
    record.session_state = 0
    record.sessions -= 1
    count_event(memory, worker, SESSIONS_REMOVED, 1)


# ---------------------------------------------------------------- limits and creation
@kernel
def refusal(memory: Memory, worker: int, slot: int, softwire: int, growth: int) -> int:
    """The reason why the subscriber may not have a session more (rows C01, D19), or -1; takes a token when it may."""
    subscriber = subscriber_of(memory, slot, softwire)
    record = subscriber_at(memory, subscriber)
    group = group_at(memory, record.group_entry)
    if not take_session_token(memory, subscriber, worker_at(memory, worker).now):
        return SESSION_RATE
    if record.sessions >= group.sessions:
        return SESSION_LIMIT
    if memory_of(memory, slot, subscriber) + growth > group.memory:
        return MEMORY_LIMIT
    return -1


@kernel
def add_session(memory: Memory, worker: int, slot: int, mapping: int, address: int, port: int, flags: int) -> int:
    """A session more on a live mapping, if the limits allow: -1, or the reason why not."""
    softwire = softwire_of(memory, slot, mapping)
    reason = refusal(memory, worker, slot, softwire, SESSION_BYTES)
    if reason >= 0:
        return reason
    first = mapping_at(memory, mapping).sessions == 0
    if not open_session(memory, worker, slot, mapping, address, port, flags):
        return TABLE_FULL
    if not first:
        subscriber_at(memory, subscriber_of(memory, slot, softwire)).sessions += 1
    return -1


@kernel
def enter_mapping(
    memory: Memory, worker: int, slot: int, softwire: int, key: int, port: int, external: int, endpoint: int
) -> int:
    """Write a mapping whose external endpoint (port in `endpoint`) is already taken; its record, or 0 when the table is full."""
    table = slot + SLOT_MAPPINGS
    mapping = take_record(memory, table)
    if mapping == 0:
        return 0
    clear(memory, mapping, MAPPING_SIZE)
    record, now = mapping_at(memory, mapping), worker_at(memory, worker).now
    address = external_at(memory, slot_at(memory, slot).externals + external * EXTERNAL_SIZE)
    record.softwire = key & M32
    record.internal_address = (key >> 32) & M32
    record.internal_port = port & 0xFFFF
    record.protocol = port >> 16
    record.external = external
    record.interface = address.interface
    record.seen = now
    record.created = now
    record.state = LIVE
    set_external(memory, mapping, address.address, endpoint)
    index_insert(memory, table, mapping_hash(memory, key, port), mapping)
    number = record_number(memory, table, mapping)
    store32(memory, reverse_word(memory, slot, external, port >> 16, endpoint), number + 1)
    softwire_at(memory, softwire).mappings += 1
    owner = subscriber_at(memory, subscriber_of(memory, slot, softwire))
    owner.mappings += 1
    owner.sessions += 1
    count_event(memory, worker, MAPPINGS_CREATED, 1)
    return mapping


@kernel
def create_mapping(memory: Memory, worker: int, slot: int, softwire: int, key: int, port: int) -> int:
    """A new mapping with a fresh external endpoint, if limits and tables allow; or -1 - drop reason.  Nothing is evicted (C08)."""
    reason = refusal(memory, worker, slot, softwire, MAPPING_BYTES)
    if reason >= 0:
        return -1 - reason
    if not has_room(memory, slot + SLOT_MAPPINGS):
        return -1 - TABLE_FULL
    subscriber = subscriber_of(memory, slot, softwire)
    endpoint = take_endpoint(memory, worker, slot, subscriber, port >> 16)
    if endpoint < 0:
        return endpoint
    return enter_mapping(memory, worker, slot, softwire, key, port, endpoint >> 16, endpoint & 0xFFFF)


@kernel
def claim_bypass(memory: Memory, worker: int, slot: int, softwire: int, key: int, port: int, external: int) -> int:
    """A mapping of an untranslated endpoint to itself (row D17): the first claimant holds it; or -1 - drop reason."""
    if load32(memory, reverse_word(memory, slot, external, port >> 16, port & 0xFFFF)) > 0:
        return -1 - BYPASS_CLAIMED
    reason = refusal(memory, worker, slot, softwire, MAPPING_BYTES)
    if reason >= 0:
        return -1 - reason
    mapping = enter_mapping(memory, worker, slot, softwire, key, port, external, port & 0xFFFF)
    if mapping == 0:
        return -1 - TABLE_FULL
    mapping_at(memory, mapping).flags |= BYPASSED
    return mapping


@kernel
def journal_mapping(memory: Memory, worker: int, slot: int, mapping: int, established: bool) -> None:
    """Record a mapping as it is now."""
    record = mapping_at(memory, mapping)
    softwire = softwire_at(memory, softwire_of(memory, slot, mapping))
    flags = (ESTABLISHED_FLAG if established else 0) | (UNTRANSLATED_FLAG if record.flags & BYPASSED else 0)
    flags |= PUBLIC_FLAG if record.flags & PUBLIC_SOURCE else 0
    word = MAPPING_RECORD | record.protocol << 8 | flags << 16
    write_record(
        memory, worker, slot, word, record.external_address, record.internal_address, record.external_port,
        record.internal_port, softwire.hi, softwire.lo,
    )  # fmt: skip


@kernel
def store_mapping(memory: Memory, worker: int, slot: int, mapping: int) -> None:
    """Record a new mapping; where the slot commits before it sends, its packets wait for that."""
    journal_mapping(memory, worker, slot, mapping, False)
    slot_record, record = slot_at(memory, slot), mapping_at(memory, mapping)
    if slot_record.parking != 0:
        record.flags |= PENDING
        record.commit = slot_record.journal_head


@kernel
def journal_session(memory: Memory, worker: int, slot: int, mapping: int, before: int, after: int) -> None:
    """Record that a TCP session became established, or no longer is: a mapping taken over lives as long as its sessions would."""
    if is_established(before) != is_established(after):
        journal_mapping(memory, worker, slot, mapping, is_established(after))


@kernel
def remove_mapping(memory: Memory, worker: int, slot: int, mapping: int) -> None:
    """End a mapping with all its sessions; its port block rests when this was the last."""
    record, now = mapping_at(memory, mapping), worker_at(memory, worker).now
    while record.more_ref > 0:
        remove_session(memory, worker, slot, record_offset(memory, slot + SLOT_SESSIONS, record.more_ref - 1))
    if record.session_state == LIVE:
        remove_first_session(memory, worker, slot, mapping)
    key, port = load64(memory, mapping), load32(memory, mapping + 8) & 0xFFFFFF
    table = slot + SLOT_MAPPINGS
    index_remove(memory, table, mapping_hash(memory, key, port), mapping)
    store32(memory, reverse_word(memory, slot, record.external, record.protocol, record.external_port), 0)
    word = MAPPING_REMOVED | record.protocol << 8
    write_record(memory, worker, slot, word, record.external_address, 0, record.external_port, 0, 0, 0)
    softwire = softwire_of(memory, slot, mapping)
    softwire_at(memory, softwire).mappings -= 1
    owner = subscriber_at(memory, subscriber_of(memory, slot, softwire))
    owner.mappings -= 1
    owner.sessions -= 1
    if record.flags & BYPASSED == 0:
        release_endpoint(memory, worker, slot, record.external, record.protocol, record.external_port, now)
    record.state = 0
    give_record(memory, table, mapping)
    count_event(memory, worker, MAPPINGS_REMOVED, 1)


# ---------------------------------------------------------------- time
@kernel
def session_timeout(memory: Memory, protocol: int, flags: int) -> int:
    """Milliseconds that a session lives without traffic."""
    pod = pod_at(memory, 0)
    if protocol == PROTOCOL_TCP:
        return pod.tcp_established if is_established(flags) else pod.tcp_transitory
    return pod.udp_timeout if protocol == PROTOCOL_UDP else pod.icmp_timeout


@kernel
def sweep_mapping(memory: Memory, worker: int, slot: int, mapping: int, now: int) -> None:
    """End what is over: the mapping's first session, then the mapping itself."""
    record = mapping_at(memory, mapping)
    if record.session_state == LIVE:
        timeout = session_timeout(memory, record.protocol, record.session_flags)
        if (now - record.session_seen) & M32 >= timeout:
            remove_first_session(memory, worker, slot, mapping)
    timeout = session_timeout(memory, record.protocol, _BOTH if record.flags & WAS_ESTABLISHED else 0)
    if record.sessions == 0 and (now - record.seen) & M32 >= timeout and journal_room(memory, slot) >= 2:
        remove_mapping(memory, worker, slot, mapping)


@kernel
def sweep_session(memory: Memory, worker: int, slot: int, session: int, now: int) -> None:
    """End a further session that is over."""
    extra = session_at(memory, session)
    if extra.state != LIVE:
        return
    mapping = record_offset(memory, slot + SLOT_MAPPINGS, extra.mapping)
    timeout = session_timeout(memory, mapping_at(memory, mapping).protocol, extra.flags)
    if (now - extra.seen) & M32 >= timeout:
        remove_session(memory, worker, slot, session)
