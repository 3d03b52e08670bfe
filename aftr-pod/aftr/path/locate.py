"""Whose packet: destination address -> slot, on both sides (the owner of a packet is a function of its destination)."""

from __future__ import annotations

from aftr.lowlevel.bits import Memory, load8, load64
from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.state.layout import BYPASS, PREFIX, RANGE, pod_at, prefix_at, range_at

RANGE_SIZE, PREFIX_SIZE, BYPASS_SIZE = RANGE.itemsize, PREFIX.itemsize, BYPASS.itemsize
# classes of first octets of IPv4 destinations (POD.octet_class): what needs a closer look
OCTET_PLAIN, OCTET_SPECIAL, OCTET_OWN = 0, 1, 2
AFTR_ADDRESS = 0xC0000001  # 192.0.0.1, RFC 6333 section 6.5


@inline_kernel
def tunnel_slot(memory: Memory, hi: int, lo: int) -> int:
    """Number of the slot whose tunnel address this is, or -1."""
    pod = pod_at(memory, 0)
    number = lo - pod.tunnel_lo
    return number if hi == pod.tunnel_hi and 0 <= number < pod.slots else -1


@kernel
def bad_source(memory: Memory, hi: int, lo: int) -> bool:
    """IPv6 sources that nobody has: unspecified, loopback, multicast, our own."""
    return (hi == 0 and 0 <= lo <= 1) or (hi >> 56) & 0xFF == 0xFF or tunnel_slot(memory, hi, lo) >= 0


@inline_kernel
def slot_offset(memory: Memory, number: int) -> int:
    """Byte offset of an open slot's record; 0 when it is closed."""
    return load64(memory, pod_at(memory, 0).slot_table + 8 * number)


@kernel
def find_range(memory: Memory, address: int) -> int:
    """The NAT prefix (or bypass address) of this pod's pool that holds an IPv4 address: its record, or 0."""
    pod = pod_at(memory, 0)
    for number in range(pod.ranges):
        entry = pod.range_table + number * RANGE_SIZE
        record = range_at(memory, entry)
        if address & record.mask == record.base:
            return entry
    return 0


@inline_kernel
def range_slot(memory: Memory, entry: int, address: int) -> int:
    """Number of the slot that an address of the range belongs to."""
    record = range_at(memory, entry)
    return record.first_slot + ((address - record.base) >> record.part_shift)


@inline_kernel
def range_external(memory: Memory, entry: int, address: int) -> int:
    """Number of the external address within its slot."""
    record = range_at(memory, entry)
    return record.first_external + ((address - record.base) & ((1 << record.part_shift) - 1))


@inline_kernel
def octet_class(memory: Memory, address: int) -> int:
    """Whether an IPv4 destination needs a closer look."""
    return load8(memory, pod_at(memory, 0).octet_class + (address >> 24))


@kernel
def in_prefixes(memory: Memory, kind: int, address: int) -> bool:
    """Whether an address lies in the configured list of this kind."""
    pod = pod_at(memory, 0)
    for number in range(pod.prefixes):
        record = prefix_at(memory, pod.prefix_table + number * PREFIX_SIZE)
        if record.kind == kind and address & record.mask == record.base:
            return True
    return False


@kernel
def is_private(address: int) -> bool:
    """RFC 1918."""
    return address >> 24 == 10 or address >> 20 == 0xAC1 or address >> 16 == 0xC0A8


@kernel
def is_shared(address: int) -> bool:
    """Inner sources that many homes use: RFC 1918 and 192.0.0.0/29."""
    return is_private(address) or address >> 3 == 0xC0000000 >> 3


@kernel
def is_unroutable(address: int) -> bool:
    """Destinations that the internet does not route (row D26); 192.0.0.1 is looked at before."""
    first = address >> 24
    return first in (0, 127) or first >= 224 or address >> 16 == 0xA9FE or is_shared(address)
