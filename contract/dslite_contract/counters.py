"""Names of everything the engine counts (docs/counters.md places each on the packet's way).

Order is the layout in memory: a counter's number is its place in its tuple.
"""

from __future__ import annotations

SIDES = ("access", "internet")

# Per side.  rx = forwarded + merged + consumed + dropped + held; over both sides tx = forwarded + split + originated.
TRAFFIC = ("rx", "forwarded", "merged", "consumed", "dropped", "held", "tx", "split", "originated")

# One per reason and side; `dropped` is their sum.
DROPS: dict[str, str] = {
    # receive
    "drop-truncated": "frame or header shorter than the lengths it states",
    "drop-ethertype": "neither IPv6 on an access interface nor IPv4 on an internet interface, or a VLAN tag that is not ours",
    "drop-not-local": "destination is neither a slot's tunnel address nor a NAT pool address of an open slot",
    "drop-ipv6-header": "IPv6 version, payload length or source address (multicast, unspecified, ours) is wrong",
    "drop-extension-header": "extension header unknown, repeated, out of order, or a chain of more than 8",
    "drop-not-softwire": "IPv6 payload is neither IPv4, a fragment nor ICMPv6 (nested tunnels included)",
    "drop-ipv4-header": "IPv4 version, header length or total length is wrong",
    "drop-ipv4-checksum": "IPv4 header checksum is wrong",
    "drop-source-route": "IPv4 source-route option (RFC 7126)",
    # reassemble
    "drop-bad-fragment": "fragment of zero length, not a multiple of 8 bytes, or past 65,535 bytes",
    "drop-overlap": "overlapping IPv6 fragments: the whole packet is dropped (RFC 5722)",
    "drop-reassembly-timeout": "fragments whose packet (or first fragment) did not arrive in time",
    "drop-reassembly-too-big": "fragments of a packet larger than maxPacketBytes, or more held fragments than fit in it",
    "drop-reassembly-full": "the slot's maxContexts or maxBytes is reached",
    "drop-reassembly-subscriber-limit": "one subscriber holds 1/16 of the slot's contexts or bytes",
    # decapsulate
    "drop-ecn": "outer header says congestion experienced, inner packet is not ECN capable (RFC 6040)",
    # admit
    "drop-not-registered-b4": "softwire source outside every B4Group's prefixes (RFC 6333 section 11)",
    "drop-no-pool": "this slot carries no address of the group's NAT pool",
    "drop-softwire-limit": "more softwires of one subscriber than maxSoftwiresPerSubscriber",
    "drop-source-not-private": "inner source neither RFC 1918, 192.0.0.0/29 nor pre-authorised",
    "drop-source-reserved": "inner source 192.0.0.0 or 192.0.0.1",
    "drop-destination": "inner destination that the internet does not route (0/8, 127/8, 169.254/16, 224/3, RFC 1918, 192.0.0.0/29)",
    "drop-aftr-address": "to 192.0.0.1, and not an echo request",
    "drop-bypass-slot": "a bypass address used through another slot than the one that announces it",
    "drop-bypass-claimed": "a bypass address that another softwire holds",
    # translate
    "drop-ttl": "TTL expired",
    "drop-protocol": "protocol other than TCP, UDP, ICMP",
    "drop-transport-header": "UDP length, TCP data offset or ICMP length is wrong, or a port is 0",
    "drop-fragment-tiny": "first IPv4 fragment too short for its transport header, or one that overlaps it (RFC 1858)",
    "drop-no-port-block": "no free port block in the pool",
    "drop-port-limit": "the subscriber holds maxPerSubscriber port blocks and all their ports are used",
    "drop-session-limit": "sessionsPerSubscriber reached",
    "drop-session-rate": "newSessionsPerSecond exceeded",
    "drop-memory-limit": "memoryBytesPerSubscriber reached",
    "drop-table-full": "the slot's table of subscribers, softwires, mappings or sessions is full",
    "drop-no-mapping": "no mapping for this pool address, protocol and port",
    "drop-filtered": "a mapping exists, but its filtering does not admit this remote endpoint",
    "drop-tcp-no-session": "TCP segment that may not open a session (RST, or mid-stream without tcpLoose)",
    "drop-unsolicited-syn": "TCP SYN from the internet that nobody inside asked for",
    "drop-icmp-unsolicited": "echo request or reply to a pool address without a mapping",
    "drop-icmp-type": "ICMP or ICMPv6 type that is not translated or not meant for us",
    "drop-icmp-checksum": "ICMP checksum, or checksum of the quoted IPv4 header, is wrong (RFC 5508 REQ-3)",
    "drop-icmp-quote": "ICMP error whose quoted packet is truncated or matches no mapping or softwire",
    # neighbours
    "drop-neighbour-elsewhere": "ARP or neighbour discovery about an address of a slot that is not open on this pod",
    "drop-neighbour-hop-limit": "neighbour discovery with a hop limit other than 255: it has crossed a router (RFC 4861 section 7.1)",
    "drop-neighbour-header": "neighbour discovery with a wrong code, from :: and not to the target's group, or solicited and to a group",
    "drop-neighbour-option": "neighbour discovery with an option of length 0, cut off, not an Ethernet station's, or not allowed from ::",
    "drop-arp-header": "ARP for other than IPv4 on Ethernet, with an unknown operation, or from a group's address (RFC 826)",
    "drop-rate-limited": "a request to the AFTR itself over its rate limit",
    # send
    "drop-too-big": "does not fit the next link and may not be fragmented (answered by type 3 code 4)",
    "drop-next-hop-unresolved": "no neighbour known for the next hop",
    "drop-no-frame": "no free frame to build the packet in",
    "drop-worker-ring-full": "the owner's hand-over ring is full",
    "drop-tx-full": "the device did not take the frame",
    "drop-slot-closed": "the slot is not open on this pod",
    # store
    "drop-commit-backlog": "first packet of a mapping while too many wait to be stored",
    "drop-commit-timeout": "first packet of a mapping that was not stored within a second",
    "drop-slot-frozen": "first packet of a mapping, ARP or neighbour discovery while its slot moves to another pod",
    "drop-slot-not-owned": "this pod's lease was over before the frame could leave",
}
DROP_NAMES = tuple(DROPS)

# Not part of the books: what happened to packets and state.
EVENTS: dict[str, str] = {
    "mappings-created": "NAT mappings created",
    "mappings-removed": "NAT mappings removed",
    "sessions-created": "sessions created (the one inside a mapping included)",
    "sessions-removed": "sessions removed",
    "port-blocks-allocated": "port blocks given to a subscriber",
    "port-blocks-released": "port blocks whose last mapping ended (hold-down starts)",
    "softwires-created": "softwires seen for the first time",
    "softwires-removed": "softwires idle and without mappings, removed",
    "softwires-migrated": "softwires whose IPv6 address changed and that kept their mappings (RFC 7785)",
    "hairpinned": "packets from one B4 to another through their external addresses",
    "bypassed": "packets forwarded without translation",
    "mss-clamped": "TCP MSS options lowered",
    "reassembled": "IPv6 packets put together from fragments",
    "ipv4-fragments-translated": "IPv4 fragments translated",
    "ipv6-fragments-sent": "IPv6 fragments sent into softwires",
    "ipv4-fragments-sent": "IPv4 fragments sent to the internet",
    "icmp-too-big-sent": "ICMPv4 type 3 code 4 originated",
    "icmp-sent": "other ICMP messages originated (echo replies included)",
    "icmp-rate-limited": "ICMP messages that the rate limit suppressed",
    "icmp-errors-translated": "ICMP errors translated, either way",
    "path-mtu-lowered": "Packet Too Big messages believed",
    "path-mtu-ignored": "Packet Too Big messages not about a packet of ours",
    "syns-held": "unsolicited SYNs held for six seconds",
    "handed-over": "frames passed to the worker that owns their slot",
    "parked": "first packets of mappings that waited until they were stored",
    "neighbours-answered": "ARP requests and neighbour solicitations answered",
    "neighbour-conflicts": "claims of other stations to an address of a slot that is served here",
    "mappings-restored": "mappings taken over from another pod",
    "journal-overrun": "changes that found the journal of their slot full: the checkpoint that is written then has them",
    "mappings-not-stored": "mappings used while no store was in reach: they end with this pod",
    "takeover-spurious": "slots taken from a pod that turned out to be alive",
}
EVENT_NAMES = tuple(EVENTS)

DROP_NUMBER = {name: number for number, name in enumerate(DROP_NAMES)}
EVENT_NUMBER = {name: number for number, name in enumerate(EVENT_NAMES)}
TRAFFIC_NUMBER = {name: number for number, name in enumerate(TRAFFIC)}
