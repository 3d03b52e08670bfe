"""A reference B4 (RFC 6333 §5): the softwire's other end, for the lab and for a Linux customer router.

In the order of a packet's way: `wan` (what the provider's side looks like) → `tun` (where the LAN's IPv4 packets come in) →
`softwire` (IPv4-in-IPv6 out and in) → `relay` (the loop between the two). `command` is the command line.

Where the AFTR is not given but learnt: `beside` (a stock DHCPv6 client with its `hooks`, and dnsmasq for the LAN) → `follow` (a changed
name becomes another softwire) → `names` (which names are none, RFC 6334; their AAAA).

The kernel does what it does well: routing between LAN and TUN, and RFC 8200 fragmentation after encapsulation and reassembly
before decapsulation, through a raw IPv6 socket of next header 4. So nothing here ever touches the size of an inner packet.
"""
