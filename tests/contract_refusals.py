"""What the schema and its rules refuse, one row a bad value: tried on the contract, and on a real API server."""

from __future__ import annotations

from contract_objects import ABSENT, NORTH, POOL, SOUTH

LABEL = "1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit"
V6 = "a unicast IPv6 prefix such as 2001:db8:64::/64, /3 to /{}"
V4 = "an IPv4 prefix such as 192.0.2.0/24, /{} to /32"
BYTES = "{} bytes, with or without a suffix such as Ki, Mi or Gi"
RANGE = 'a range of slots such as 0-3, a power of two many, or one slot in quotes such as "5"'
DOMAIN = "two or more labels in lower case such as aftr.example.net, at most 183 characters"
FILTERINGS = "endpoint-independent, address-dependent or address-and-port-dependent"
ASN = "a whole number from 1 to 4294967294"
PEER = "a unicast IPv4 or IPv6 address such as 2001:db8::1 or 198.51.100.254, not link-local"
INTERFACE_ID = "1 to 254 of letters, digits, space and ._:/@#()+=,- such as dslam-7, with or without * at the end"
TIME = 'a time of the day in quotes such as "02:30"'
RELEASE = "a release such as 0.1.0, or nothing"
RESOURCE = "a resource such as example.com/aftr_access"

# One field, one bad value (in YAML): path, value, what the message says of it.
BGP = "{localAsn: 64512, peers: [{name: a, interface: access, address: '2001:db8::1', asn: 1, families: [ipv6]}]}"
POOL_VALUES = [
    ("apiVersion", "v1", "v1 is not allowed: dslite.dev/v1alpha1"),
    ("metadata.name", "East", f"East is not allowed: {LABEL}"),
    ("metadata.name", "a.b", f"a.b is not allowed: {LABEL}"),
    ("metadata.name", "x" * 64, f"{'x' * 59}… is not allowed: {LABEL}"),
    ("metadata.name", "7", f"7 is not allowed: {LABEL}"),
    ("metadata.name", '"7-"', f"7- is not allowed: {LABEL}"),
    ("metadata.namespace", '""', f'"" is not allowed: {LABEL}'),
    ("metadata.owner", "me", "unknown field (known here: name, namespace)"),
    ("spec.replicas", "0", "0 is not allowed: a whole number from 1 to 1024"),
    ("spec.replicas", "17", "17 is not allowed: at most one for each of the 16 slots"),
    ("spec.replicas", "true", "true is not allowed: a whole number from 1 to 1024"),
    ("spec.slots", "3", "3 is not allowed: a power of two from 1 to 1024"),
    ("spec.slots", "2048", "2048 is not allowed: a power of two from 1 to 1024"),
    ("spec.slots", '"16"', '"16" is not allowed: a power of two from 1 to 1024'),
    ("spec.slots", "16.0", "16.0 is not allowed: a power of two from 1 to 1024"),
    ("spec.softwire", "[]", ("a list is not allowed: a mapping with prefix, domain, tunnelMtu, dscpPreservation, "
     "mssClamping, dontFragment, reassembly")),
    ("spec.softwire.prefix", ABSENT, f"missing: {V6.format(127)}"),
    ("spec.softwire.prefix", "2001:db8:64::1/64", "2001:db8:64::1/64 is not allowed: without host bits it is 2001:db8:64::/64"),
    ("spec.softwire.prefix", '"2001:db8:64::"', f"2001:db8:64:: is not allowed: {V6.format(127)}"),
    ("spec.softwire.prefix", "192.0.2.0/24", f"192.0.2.0/24 is not allowed: {V6.format(127)}"),
    ("spec.softwire.prefix", "2001:db8::1/128", f"2001:db8::1/128 is not allowed: {V6.format(127)}"),
    ("spec.softwire.prefix", "ff00::/8", f"ff00::/8 is not allowed: {V6.format(127)}"),
    ("spec.softwire.prefix", "fe80::/64", f"fe80::/64 is not allowed: {V6.format(127)}"),
    ("spec.softwire.prefix", '"::/0"', f"::/0 is not allowed: {V6.format(127)}"),
    ("spec.softwire.prefix", "2001:db8::/064", f"2001:db8::/064 is not allowed: {V6.format(127)}"),
    ("spec.softwire.prefix", "2001:db8::%eth0/64", f'"2001:db8::%eth0/64" is not allowed: {V6.format(127)}'),
    ("spec.softwire.prefix", "2001:db8::/129", f"2001:db8::/129 is not allowed: {V6.format(127)}"),
    ("spec.softwire.prefix", "2001:db8:64::/124", ("2001:db8:64::/124 is not allowed: 17 addresses or more for 16 slots "
     "(slot i has prefix::(i+1))")),
    ("spec.softwire.domain", "localhost", f"localhost is not allowed: {DOMAIN}"),
    ("spec.softwire.domain", "aftr.example.net.", f"aftr.example.net. is not allowed: {DOMAIN}"),
    ("spec.softwire.domain", "AFTR.example.net", f"AFTR.example.net is not allowed: {DOMAIN}"),
    ("spec.softwire.domain", "a,b.example", f'"a,b.example" is not allowed: {DOMAIN}'),
    ("spec.softwire.domain", '"2001:db8::1"', f"2001:db8::1 is not allowed: {DOMAIN}"),
    ("spec.softwire.domain", "192.0.2.1", f"192.0.2.1 is not allowed: {DOMAIN}"),
    ("spec.softwire.domain", "a." * 91 + "net", f"{'a.' * 29}a… is not allowed: {DOMAIN}"),
    ("spec.softwire.tunnelMtu", "1279", "1279 is not allowed: a whole number from 1280 to 9216"),
    ("spec.softwire.tunnelMtu", "9217", "9217 is not allowed: a whole number from 1280 to 9216"),
    ("spec.softwire.tunnelMTU", "1500", "unknown field (did you mean tunnelMtu?)"),
    ("spec.softwire.tunnel_mtu", "1500", "unknown field (did you mean tunnelMtu?)"),
    ("spec.softwire.dscpPreservation", "yes", "yes is not allowed: true or false"),
    ("spec.softwire.mssClamping", "true", "true is not allowed: a mapping with enabled"),
    ("spec.softwire.mssClamping.enabled", "1", "1 is not allowed: true or false"),
    ("spec.softwire.dontFragment", "drop", "drop is not allowed: icmp or fragment"),
    ("spec.softwire.dontFragment", "[icmp]", "a list is not allowed: icmp or fragment"),
    ("spec.softwire.reassembly.timeoutSeconds", "0", "0 is not allowed: a whole number from 1 to 60"),
    ("spec.softwire.reassembly.maxContexts", "15", "15 is not allowed: a whole number from 16 to 1048576"),
    ("spec.softwire.reassembly.maxBytes", "31Ki", f"31Ki is not allowed: {BYTES.format('32Ki to 16Gi')}"),
    ("spec.softwire.reassembly.maxBytes", "64MB", f"64MB is not allowed: {BYTES.format('32Ki to 16Gi')}"),
    ("spec.softwire.reassembly.maxBytes", "17Gi", f"17Gi is not allowed: {BYTES.format('32Ki to 16Gi')}"),
    ("spec.softwire.reassembly.maxBytes", "true", f"true is not allowed: {BYTES.format('32Ki to 16Gi')}"),
    ("spec.softwire.reassembly.maxPacketBytes", "1499", "1499 is not allowed: a whole number from 1500 to 9216"),
    ("spec.softwire.reassembly.maxPacketBytes", "9217", "9217 is not allowed: a whole number from 1500 to 9216"),
    ("spec.nat", ABSENT, ("missing: a mapping with pools, portBlock, subscriberMaskV6, maxSoftwiresPerSubscriber, stateMigrate, "
     "b4AddressChangeLimitSeconds, filtering, limits, timeouts, allocation, tcpLoose, unsolicitedSyn, icmpRefusalCode, "
     "udpRefreshByInbound, noTranslationDestinations, bypass, preAuthorizedSources, allowedPrivateDestinations")),
    ("spec.nat.pools", ABSENT, "missing: a list"),
    ("spec.nat.pools", "{default: 192.0.2.0/24}", "a mapping is not allowed: a list"),
    ("spec.nat.pools[0]", "192.0.2.0/24", "192.0.2.0/24 is not allowed: a mapping with name, prefixes, slots, interface"),
    ("spec.nat.pools[0].name", "a_b", f"a_b is not allowed: {LABEL}"),
    ("spec.nat.pools[0].prefixes", "192.0.2.0/24", "192.0.2.0/24 is not allowed: a list"),
    ("spec.nat.pools[0].prefixes", "[]", "an empty list is not allowed: at least 1 entry"),
    ("spec.nat.pools[0].prefixes", str([f"192.0.2.{n * 8}/29" for n in range(17)]), "17 entries are not allowed: at most 16"),
    ("spec.nat.pools[0].prefixes[0]", "192.0.2.1/24", "192.0.2.1/24 is not allowed: without host bits it is 192.0.2.0/24"),
    ("spec.nat.pools[0].prefixes[0]", "192.0.2.0", f"192.0.2.0 is not allowed: {V4.format(8)}"),
    ("spec.nat.pools[0].prefixes[0]", "192.0.2.0/255.255.255.0", f"192.0.2.0/255.255.255.0 is not allowed: {V4.format(8)}"),
    ("spec.nat.pools[0].prefixes[0]", "192.0.2.0/33", f"192.0.2.0/33 is not allowed: {V4.format(8)}"),
    ("spec.nat.pools[0].prefixes[0]", "64.0.0.0/7", f"64.0.0.0/7 is not allowed: {V4.format(8)}"),
    ("spec.nat.pools[0].prefixes[0]", "192.0.02.0/24", f"192.0.02.0/24 is not allowed: {V4.format(8)}"),
    ("spec.nat.pools[0].prefixes[0]", "2001:db8::/64", f"2001:db8::/64 is not allowed: {V4.format(8)}"),
    ("spec.nat.pools[0].prefixes[0]", "1.5", f"1.5 is not allowed: {V4.format(8)}"),
    ("spec.nat.pools[0].prefixes[0]", "[192.0.2.0/24]", f"a list is not allowed: {V4.format(8)}"),
    ("spec.nat.pools[0].prefixes[0]", "192.0.2.0/29", ("192.0.2.0/29 is not allowed: at least 16 addresses, one for each slot "
     "that carries the pool")),
    ("spec.nat.pools[0].prefixes[0]", "127.0.0.0/24", "127.0.0.0/24 is not allowed: addresses outside 127.0.0.0/8"),
    ("spec.nat.pools[0].prefixes[0]", "240.0.0.0/24", "240.0.0.0/24 is not allowed: addresses outside 224.0.0.0/3"),
    ("spec.nat.pools[0].prefixes[0]", "192.0.0.0/24", "192.0.0.0/24 is not allowed: addresses outside 192.0.0.0/29"),
    ("spec.nat.pools[0].prefixes[1]", "192.0.2.64/26", ("192.0.2.64/26 is not allowed: it overlaps "
     "spec.nat.pools[0].prefixes[0] (192.0.2.0/24)")),
    ("spec.nat.pools[1].prefixes[0]", "192.0.2.0/24", ("192.0.2.0/24 is not allowed: it overlaps "
     "spec.nat.pools[0].prefixes[0] (192.0.2.0/24)")),
    ("spec.nat.pools[1].prefixes[0]", "198.51.100.0/31", ("198.51.100.0/31 is not allowed: at least 4 addresses, one for each "
     "slot that carries the pool")),
    ("spec.nat.pools[1].slots", "0-2", f"0-2 is not allowed: {RANGE}"),
    ("spec.nat.pools[1].slots", "3-0", f"3-0 is not allowed: {RANGE}"),
    ("spec.nat.pools[1].slots", "0 - 3", f'"0 - 3" is not allowed: {RANGE}'),
    ("spec.nat.pools[1].slots", "5", f"5 is not allowed: {RANGE}"),
    ("spec.nat.pools[1].slots", "14-17", "14-17 is not allowed: slots of this pool, 0 to 15"),
    ("spec.nat.pools[1].interface", "inter net", f'"inter net" is not allowed: {LABEL}'),
    ("spec.nat.pools[1].interface", "internet-c", ("internet-c is not allowed: an interface of side internet or both "
     "(internet, internet-b)")),
    ("spec.nat.pools[1].interface", "access", ("access is not allowed: an interface of side internet or both "
     "(internet, internet-b)")),
    ("spec.nat.pools[1].interfaces", "[a]", "unknown field (did you mean interface?)"),
    ("spec.nat.portBlock.size", "100", "100 is not allowed: a power of two from 64 to 4096"),
    ("spec.nat.portBlock.size", "32", "32 is not allowed: a power of two from 64 to 4096"),
    ("spec.nat.portBlock.size", "8192", "8192 is not allowed: a power of two from 64 to 4096"),
    ("spec.nat.portBlock.maxPerSubscriber", "0", "0 is not allowed: a whole number from 1 to 1008"),
    ("spec.nat.portBlock.maxPerSubscriber", "253", ("253 is not allowed: at most 252 blocks of 256 ports "
     "(64512 ports of an address)")),
    ("spec.nat.portBlock.holdDownSeconds", "9", "9 is not allowed: a whole number from 10 to 86400"),
    ("spec.nat.portblock", "{}", "unknown field (did you mean portBlock?)"),
    ("spec.nat.subscriberMaskV6", "31", "31 is not allowed: a whole number from 32 to 128"),
    ("spec.nat.subscriberMaskV6", "129", "129 is not allowed: a whole number from 32 to 128"),
    ("spec.nat.maxSoftwiresPerSubscriber", "0", "0 is not allowed: a whole number from 1 to 1024"),
    ("spec.nat.stateMigrate", '"true"', '"true" is not allowed: true or false'),
    ("spec.nat.b4AddressChangeLimitSeconds", "-1", "-1 is not allowed: a whole number from 0 to 604800"),
    ("spec.nat.filtering", "none", f"none is not allowed: {FILTERINGS}"),
    ("spec.nat.limits", "none", ("none is not allowed: a mapping with sessionsPerSubscriber, newSessionsPerSecond, "
     "newSessionBurst, memoryBytesPerSubscriber")),
    ("spec.nat.limits.sessionsPerSubscriber", "0", "0 is not allowed: a whole number from 1 to 16777216"),
    ("spec.nat.limits.newSessionsPerSecond", "0", "0 is not allowed: a whole number from 1 to 1000000"),
    ("spec.nat.limits.newSessionBurst", "1e3", "1000.0 is not allowed: a whole number from 1 to 10000000"),
    ("spec.nat.limits.memoryBytesPerSubscriber", "63", f"63 is not allowed: {BYTES.format('64 to 1Ti')}"),
    ("spec.nat.timeouts.udpSeconds", "119", "119 is not allowed: a whole number from 120 to 604800 (RFC 4787 REQ-5)"),
    ("spec.nat.timeouts.udpSeconds", "0300", '"0300" is not allowed: a whole number from 120 to 604800 (RFC 4787 REQ-5)'),
    ("spec.nat.timeouts.udpSeconds", "5m", "5m is not allowed: a whole number from 120 to 604800 (RFC 4787 REQ-5)"),
    ("spec.nat.timeouts.tcpEstablishedSeconds", "7439", ("7439 is not allowed: a whole number from 7440 to 604800 "
     "(RFC 5382 REQ-5)")),
    ("spec.nat.timeouts.tcpTransitorySeconds", "239", ("239 is not allowed: a whole number from 240 to 604800 "
     "(RFC 5382 REQ-5)")),
    ("spec.nat.timeouts.icmpSeconds", "59", "59 is not allowed: a whole number from 60 to 604800 (RFC 5508 REQ-2)"),
    ("spec.nat.timeouts.tcpSeconds", "7440", "unknown field (did you mean icmpSeconds?)"),
    ("spec.nat.allocation", "static", "static is not allowed: dynamic"),
    ("spec.nat.allocation", "deterministic", "deterministic is not implemented yet (comes with Governance)"),
    ("spec.nat.tcpLoose", "0", "0 is not allowed: true or false"),
    ("spec.nat.unsolicitedSyn", "reset", "reset is not allowed: drop or icmp"),
    ("spec.nat.icmpRefusalCode", "3", "3 is not allowed: 1 or 13"),
    ("spec.nat.icmpRefusalCode", "true", "true is not allowed: 1 or 13"),
    ("spec.nat.udpRefreshByInbound", "on", "on is not allowed: true or false"),
    ("spec.nat.noTranslationDestinations", "198.18.0.0/15", "198.18.0.0/15 is not allowed: a list"),
    ("spec.nat.noTranslationDestinations[0]", "0.0.0.0/0", f"0.0.0.0/0 is not allowed: {V4.format(1)}"),
    ("spec.nat.bypass[0].b4", "2001:db8::7", f"2001:db8::7 is not allowed: {V6.format(128)}"),
    ("spec.nat.bypass[0].address", "203.0.113.10/32", "203.0.113.10/32 is not allowed: an IPv4 address such as 203.0.113.10"),
    ("spec.nat.bypass[0].address", "3405803786", "3405803786 is not allowed: an IPv4 address such as 203.0.113.10"),
    ("spec.nat.bypass[0].address", "10.1.2.3", "10.1.2.3 is not allowed: an address outside 10.0.0.0/8, since it is announced"),
    ("spec.nat.bypass[0].address", "192.0.2.7", "192.0.2.7 is not allowed: an address outside spec.nat.pools[0].prefixes[0]"),
    ("spec.nat.bypass[0].port", "0", "0 is not allowed: a whole number from 1 to 65535"),
    ("spec.nat.bypass[0].port", "65536", "65536 is not allowed: a whole number from 1 to 65535"),
    ("spec.nat.bypass[0].protocol", "icmp", "icmp is not allowed: tcp or udp"),
    ("spec.nat.bypass[0].protocol", "17", "17 is not allowed: tcp or udp"),
    ("spec.nat.bypass[0].destination", "198.18.5.1", f"198.18.5.1 is not allowed: {V4.format(0)}"),
    ("spec.nat.bypass[0].slot", "1024", "1024 is not allowed: a whole number from 0 to 1023"),
    ("spec.nat.bypass[1].slot", "4", "4 is not allowed: 3, as spec.nat.bypass[0] has for 203.0.113.10"),
    ("spec.nat.bypass[1]", '{b4: "2001:db8:1000:7::/64", address: 203.0.113.10, port: 5060, protocol: udp, slot: 3}',
     "the same as spec.nat.bypass[0]: leave one out"),
    ("spec.nat.preAuthorizedSources[0]", "100.64.0.0/9", "100.64.0.0/9 is not allowed: without host bits it is 100.0.0.0/9"),
    ("spec.nat.preAuthorizedSources[0]", "10.1.0.0/16", "10.1.0.0/16 is not allowed: addresses outside 10.0.0.0/8"),
    ("spec.nat.preAuthorizedSources[0]", "192.0.2.128/25", ("192.0.2.128/25 is not allowed: it overlaps "
     "spec.nat.pools[0].prefixes[0] (192.0.2.0/24)")),
    ("spec.nat.allowedPrivateDestinations[0]", "8.8.8.8/32", ("8.8.8.8/32 is not allowed: a prefix inside 10.0.0.0/8, "
     "172.16.0.0/12, 192.168.0.0/16 or 192.0.0.0/29")),
    ("spec.capacity.mappingsPerSlot", "0", "0 is not allowed: a whole number from 1 to 67108864"),
    ("spec.capacity.extraSessionsPerSlot", "-1", "-1 is not allowed: a whole number from 0 to 67108864"),
    ("spec.capacity.subscribersPerSlot", "99999999999999999999", ("99999999999999999999 is not allowed: a whole number from 1 "
     "to 16777216")),
    ("spec.interfaces[0].name", "eth0.7", f"eth0.7 is not allowed: {LABEL}"),
    ("spec.interfaces[0].side", "inside", "inside is not allowed: access, internet or both"),
    ("spec.interfaces[1].podNetwork", "true", "true is not allowed: an empty mapping"),
    ("spec.interfaces[1].podNetwork.name", "eth0", "unknown field (known here: nothing)"),
    ("spec.interfaces[0].sriov.networkAttachment", "A B", ('"A B" is not allowed: name or namespace/name of a '
     "NetworkAttachmentDefinition")),
    ("spec.interfaces[0].sriov.resourceName", "vf", f"vf is not allowed: {RESOURCE}"),
    ("spec.routing", f"{{bgp: {BGP}, layer2: {{}}}}", "exactly one of bgp and layer2 is needed"),
    ("spec.release", "1 0", f'"1 0" is not allowed: {RELEASE}'),
    ("spec.release", "1.0", f"1.0 is not allowed: {RELEASE}"),
    ("spec.routing", "{}", "exactly one of bgp and layer2 is needed"),
    ("spec.routing.bgp.localAsn", "0", f"0 is not allowed: {ASN}"),
    ("spec.routing.bgp.localAsn", "4294967295", f"4294967295 is not allowed: {ASN}"),
    ("spec.routing.bgp.peers", "[]", "an empty list is not allowed: at least 1 entry"),
    ("spec.routing.bgp.peers[0].name", "tor 6", f'"tor 6" is not allowed: {LABEL}'),
    ("spec.routing.bgp.peers[1].name", "tor6", "tor6 is not allowed: a name other than that of spec.routing.bgp.peers[0]"),
    ("spec.routing.bgp.peers[0].interface", "eth0.7", f"eth0.7 is not allowed: {LABEL}"),
    ("spec.routing.bgp.peers[0].interface", "core", ("core is not allowed: an interface of the pool (access, internet, "
     "internet-b)")),
    ("spec.routing.bgp.peers[0].address", "2001:db8::1/64", f"2001:db8::1/64 is not allowed: {PEER}"),
    ("spec.routing.bgp.peers[0].address", "fe80::1", f"fe80::1 is not allowed: {PEER}"),
    ("spec.routing.bgp.peers[0].address", '"2001:db8::1%eth0"', f'"2001:db8::1%eth0" is not allowed: {PEER}'),
    ("spec.routing.bgp.peers[0].address", "224.0.0.5", f"224.0.0.5 is not allowed: {PEER}"),
    ("spec.routing.bgp.peers[0].address", "7", f"7 is not allowed: {PEER}"),
    ("spec.routing.bgp.peers[0].address", "router", f"router is not allowed: {PEER}"),
    ("spec.routing.bgp.peers[2].address", "198.51.100.254", ("198.51.100.254 is not allowed: an address other than that of "
     "spec.routing.bgp.peers[1]")),
    ("spec.routing.bgp.peers[0].asn", "65536.1", f'65536.1 is not allowed: {ASN}'),
    ("spec.routing.bgp.peers[0].families", "[]", "an empty list is not allowed: at least 1 entry"),
    ("spec.routing.bgp.peers[0].families[0]", "ipv5", "ipv5 is not allowed: ipv4 or ipv6"),
    ("spec.routing.bgp.peers[0].families[0]", "ipv4", "ipv4 is not allowed: ipv6, since interface access has side access"),
    ("spec.routing.bgp.peers[0].families[1]", "ipv6", "ipv6 is not allowed: each family once"),
    ("spec.routing.bgp.peers[0].passwordSecret", "Tor", ("Tor is not allowed: 1 to 253 of a-z, 0-9, - and ., the name of a "
     "Secret")),
    ("spec.store", "{durability: memory}", "exactly one of embedded and secretRef is needed"),
    ("spec.store.embedded", "true", "true is not allowed: an empty mapping"),
    ("spec.store.secretRef", "east/redis", "east/redis is not allowed: 1 to 253 of a-z, 0-9, - and ., the name of a Secret"),
    ("spec.store.durability", "some", "some is not allowed: none, memory, replicated or disk"),
    ("spec.store.durability", "replicated", ("replicated is not allowed: none, memory or disk with embedded, which is a single "
     "Redis")),
    ("spec.store.waitReplicas", "0", "0 is not allowed: all, or a whole number from 1 to 16"),
    ("spec.store.waitReplicas", "most", "most is not allowed: all, or a whole number from 1 to 16"),
    ("spec.store.onLoss", "drop", "drop is not allowed: serve or refuse"),
    ("spec.store.adopt", "1", "1 is not allowed: true or false"),
    ("spec.failover.deadAfterMilliseconds", "199", "199 is not allowed: a whole number from 200 to 60000"),
    ("spec.failover.drainSeconds", "-1", "-1 is not allowed: a whole number from 0 to 86399"),
    ("spec.failover.drainSeconds", "120", "120 is not allowed: less than spec.nat.portBlock.holdDownSeconds (120)"),
    ("spec.failover.failsafe", "loose", "loose is not allowed: strict or available"),
    ("spec.failover.restoredFilteringGraceSeconds", "3601", "3601 is not allowed: a whole number from 0 to 3600"),
    ("spec.autoscaling", "true", ("true is not allowed: a mapping with minReplicas, maxReplicas, targets, "
     "scaleDownStabilizationSeconds")),
    ("spec.autoscaling.minReplicas", "0", "0 is not allowed: a whole number from 1 to 1024"),
    ("spec.autoscaling.minReplicas", "13", "13 is not allowed: at most maxReplicas (8)"),
    ("spec.autoscaling.maxReplicas", ABSENT, "missing: a whole number from 1 to 1024"),
    ("spec.autoscaling.maxReplicas", "17", "17 is not allowed: at most one for each of the 16 slots"),
    ("spec.autoscaling.targets.workerUtilizationPercent", "101", "101 is not allowed: a whole number from 1 to 100"),
    ("spec.autoscaling.targets.portUtilizationPercent", "0", "0 is not allowed: a whole number from 1 to 100"),
    ("spec.autoscaling.scaleDownStabilizationSeconds", "-1", "-1 is not allowed: a whole number from 0 to 86400"),
    ("spec.thresholds", "{}", "not implemented yet (comes with Governance)"),
    ("spec.logging", "{blocks: true}", "not implemented yet (comes with Governance)"),
    ("spec.deletionDrainSeconds", "86401", "86401 is not allowed: a whole number from 0 to 86400"),
    ("spec.allowDisruption", "1", "1 is not allowed: true or false"),
    ("spec.rollout", "recreate", "recreate is not allowed: surge or inPlace"),
    ("spec.nat.alg", "{ftp: false}", "not implemented yet (comes with Governance)"),
    ("spec.nat.pcp", "{enabled: true}", "not implemented yet (comes with Governance)"),
]  # fmt: skip

GROUP_VALUES = [
    ("apiVersion", "dslite.dev/v1", "dslite.dev/v1 is not allowed: dslite.dev/v1alpha1"),
    ("metadata.name", "north_1", f"north_1 is not allowed: {LABEL}"),
    ("metadata.namespace", "core", "core is not allowed: edge, the namespace of the AftrPool"),
    ("metadata.namespace", ABSENT, "default is not allowed: edge, the namespace of the AftrPool"),
    ("spec.poolRef", "east", "east is not allowed: a mapping with name"),
    ("spec.poolRef.name", "east.edge", f"east.edge is not allowed: {LABEL}"),
    ("spec.poolRef.name", "west", "west is not allowed: east, the AftrPool given"),
    ("spec.poolRef.namespace", "edge", "unknown field (did you mean name?)"),
    ("spec.prefixes", "[]", "an empty list is not allowed: at least 1 entry"),
    ("spec.prefixes[0]", "2001:db8:1000::1/36", "2001:db8:1000::1/36 is not allowed: without host bits it is 2001:db8:1000::/36"),
    ("spec.prefixes[0]", "10.0.0.0/8", f"10.0.0.0/8 is not allowed: {V6.format(128)}"),
    ("spec.prefixes[1]", "2001:db8:1000::/36", "2001:db8:1000::/36 is not allowed: it equals spec.prefixes[0] of B4Group north"),
    ("spec.prefixes[1]", "2001:db8:64::/64", ("2001:db8:64::/64 is not allowed: a prefix outside spec.softwire.prefix "
     "(2001:db8:64::/64), which is the AFTRs' own")),
    ("spec.prefixes[1]", "2001:db8:64::1/128", ("2001:db8:64::1/128 is not allowed: a prefix outside spec.softwire.prefix "
     "(2001:db8:64::/64), which is the AFTRs' own")),
    ("spec.natPool", "gold", "gold is not allowed: a NAT pool of the AftrPool (default, business)"),
    ("spec.natPool", "Gold", f"Gold is not allowed: {LABEL}"),
    ("spec.limits", "[]", ("a list is not allowed: a mapping with sessionsPerSubscriber, newSessionsPerSecond, "
     "newSessionBurst, memoryBytesPerSubscriber")),
    ("spec.limits.sessionsPerSubscriber", "unlimited", "unlimited is not allowed: a whole number from 1 to 16777216"),
    ("spec.limits.newSessionsPerSecond", "0", "0 is not allowed: a whole number from 1 to 1000000"),
    ("spec.limits.newSessionBurst", "-1", "-1 is not allowed: a whole number from 1 to 10000000"),
    ("spec.limits.memoryBytesPerSubscriber", "1Kib", f"1Kib is not allowed: {BYTES.format('64 to 1Ti')}"),
    ("spec.subscriberMaskV6", "24", "24 is not allowed: a whole number from 32 to 128"),
    ("spec.maxSoftwiresPerSubscriber", "0", "0 is not allowed: a whole number from 1 to 1024"),
    ("spec.dhcp", "metro", "metro is not allowed: a mapping with server, subnets, bucketBytes"),
    ("spec.dhcp.server", "Metro", f"Metro is not allowed: {LABEL}"),
    ("spec.dhcp.subnets", "[]", "an empty list is not allowed: at least 1 entry"),
    ("spec.dhcp.subnets[0]", "2001:db8:1000::1/48", "2001:db8:1000::1/48 is not allowed: without host bits it is 2001:db8:1000::/48"),
    ("spec.dhcp.subnets[1]", "2001:db8:1000::/48", "2001:db8:1000::/48 is not allowed: each subnet once"),
    ("spec.dhcp.bucketBytes", "first", "first is not allowed: last, lastNibble or lastTwoLowNibbles"),
    ("spec.match", "dslam-7", "dslam-7 is not allowed: a mapping with relayInterfaceId"),
    ("spec.match.relayInterfaceId", ABSENT, f"missing: {INTERFACE_ID}"),
    ("spec.match.relayInterfaceId", "\"dslam'7\"", f"\"dslam'7\" is not allowed: {INTERFACE_ID}"),
    ("spec.match.relayInterfaceId", '"*-7"', f'"*-7" is not allowed: {INTERFACE_ID}'),
    ("spec.match.relayInterfaceId", "7", f"7 is not allowed: {INTERFACE_ID}"),
    ("spec.slots", "0", "0 is not allowed: a whole number from 1 to 1024"),
    ("spec.slots", "17", "17 is not allowed: at most 16, for slots 0-15 carry NAT pool default"),
    ("spec.rebalance", "never", "never is not allowed: manual or automatic"),
    ("spec.maxMovesPerHour", "0", "0 is not allowed: a whole number from 1 to 10000000"),
    ("spec.moveWindow", '"02:00-05:00"', '02:00-05:00 is not allowed: a mapping with start, end'),
    ("spec.moveWindow.start", '"2:00"', f'2:00 is not allowed: {TIME}'),
    ("spec.moveWindow.start", '"24:00"', f'24:00 is not allowed: {TIME}'),
    ("spec.moveWindow.end", "120", f'120 is not allowed: {TIME}'),
    ("spec.moveWindow.end", '"02:00"', "02:00 is not allowed: a time other than spec.moveWindow.start"),
]  # fmt: skip

# Edits whose refusal stands elsewhere, or that are refused for several reasons: object, edits, all lines.
SEVERAL = [
    (POOL, {"spec.nat.bypass[0]": "{}"}, [
        f"AftrPool east: spec.nat.bypass[0].b4: missing: {V6.format(128)}",
        "AftrPool east: spec.nat.bypass[0].address: missing: an IPv4 address such as 203.0.113.10",
        "AftrPool east: spec.nat.bypass[0].port: missing: a whole number from 1 to 65535",
        "AftrPool east: spec.nat.bypass[0].protocol: missing: tcp or udp",
        "AftrPool east: spec.nat.bypass[0].slot: missing: a whole number from 0 to 1023"]),
    (POOL, {"spec.store": ABSENT, "spec.replicas": "2"}, [
        "AftrPool east: spec.replicas: 2 is not allowed: 1 without spec.store, by which AFTRs share bindings",
        "AftrPool east: spec.autoscaling: spec.store is needed, by which AFTRs share bindings"]),
    (POOL, {"spec.store.secretRef": "east-redis"}, [
        "AftrPool east: spec.store: exactly one of embedded and secretRef is needed"]),
    (POOL, {"spec.routing.bgp.peers[0].interface": "internet"}, [
        ("AftrPool east: spec.routing.bgp.peers[0].families[0]: ipv6 is not allowed: ipv4, since interface internet has side "
        "internet")]),
    (POOL, {"spec.interfaces[0].side": "both", "spec.routing.bgp.peers[0].families": "[ipv4]"}, [
        ("AftrPool east: spec.routing.bgp.peers[0].families[0]: ipv4 is not allowed: ipv6, the family of the session's "
        "address")]),
    (POOL, {"spec.interfaces": "[]", "spec.nat.pools[1].interface": ABSENT}, [
        ("AftrPool east: spec.routing.bgp.peers[2].interface: internet-b is not allowed: an interface of the pool (access, "
        "internet)")]),
    (POOL, {"spec.interfaces[2].name": "internet", "spec.routing": ABSENT}, [
        "AftrPool east: spec.interfaces[2].name: internet is not allowed: a name other than that of spec.interfaces[1]",
        ("AftrPool east: spec.nat.pools[1].interface: internet-b is not allowed: an interface of side internet or both "
        "(internet, internet)")]),
    (POOL, {"spec.interfaces[0].side": "internet", "spec.routing": ABSENT}, [
        "AftrPool east: spec.interfaces: none has side access or both: one is needed"]),
    (POOL, {"spec.interfaces[0].sriov": ABSENT}, [
        "AftrPool east: spec.interfaces[0]: exactly one of sriov and podNetwork is needed"]),
    (POOL, {"spec.interfaces[2].podNetwork": "{}", "spec.interfaces[1].sriov": "{networkAttachment: a, resourceName: a.b/c}",
            "spec.interfaces[1].podNetwork": ABSENT}, [
        "AftrPool east: spec.interfaces[2]: exactly one of sriov and podNetwork is needed"]),
    (POOL, {"spec.nat.allowedPrivateDestinations": "[10.0.0.0/8, null]"}, [
        f"AftrPool east: spec.nat.allowedPrivateDestinations[1]: null is not allowed: {V4.format(8)}"]),
    (POOL, {"spec.nat.pools[1].name": "default"}, [
        "AftrPool east: spec.nat.pools[1].name: default is not allowed: a name other than that of spec.nat.pools[0]",
        "B4Group south: spec.natPool: business is not allowed: a NAT pool of the AftrPool (default, default)"]),
    (POOL, {"spec.slots": "2", "spec.autoscaling": ABSENT}, [
        "AftrPool east: spec.nat.pools[1].slots: 0-3 is not allowed: slots of this pool, 0 to 1",
        "AftrPool east: spec.nat.bypass[0].slot: 3 is not allowed: a slot of this pool, 0 to 1",
        "AftrPool east: spec.nat.bypass[1].slot: 3 is not allowed: a slot of this pool, 0 to 1",
        "B4Group north: spec.slots: 4 is not allowed: at most 2, for slots 0-1 carry NAT pool default"]),
    (POOL, {"spec.nat.bypass": "[]", "spec.nat.preAuthorizedSources": "[]"}, [
        ("AftrPool east: spec.nat.noTranslationDestinations: 198.18.0.0/15 is not allowed: only with preAuthorizedSources or "
        "bypass, which make sources unique (RFC 6888 REQ-6)")]),
    (POOL, {"spec.nat.portBlock": "{size: 7, holdDown: 3}", "spec.nat.pcp": "{}", "metadata.name": '"-"'}, [
        'AftrPool "-": spec.nat.pcp: not implemented yet (comes with Governance)',
        f'AftrPool "-": metadata.name: "-" is not allowed: {LABEL}',
        'AftrPool "-": spec.nat.portBlock.size: 7 is not allowed: a power of two from 64 to 4096',
        'AftrPool "-": spec.nat.portBlock.holdDown: unknown field (did you mean holdDownSeconds?)']),
    (NORTH, {"metadata.name": "south"}, [
        "B4Group south: metadata.name: south is not allowed: a name that no other B4Group has"]),
    (SOUTH, {"spec.prefixes[1]": "2001:db8:1000::/36"}, [
        "B4Group south: spec.prefixes[1]: 2001:db8:1000::/36 is not allowed: it equals spec.prefixes[0] of B4Group north"]),
    (NORTH, {"spec.dhcp": ABSENT}, [
        "B4Group north: spec.slots: 4 is not allowed: 1 without spec.dhcp, by which each B4 learns its slot",
        "B4Group north: spec.match: spec.dhcp is needed, whose clients it tells apart"]),
    (NORTH, {"spec": "{}"}, [
        "B4Group north: spec.poolRef: missing: a mapping with name", "B4Group north: spec.prefixes: missing: a list"]),
    (NORTH, {"metadata": ABSENT}, ["B4Group (document 2): metadata: missing: a mapping with name, namespace"]),
    (NORTH, {"metadata": "[]"}, ["B4Group (document 2): metadata: a list is not allowed: a mapping with name, namespace"]),
    (NORTH, {"kind": "B4Groups"}, ["document 2: kind: B4Groups is not allowed: AftrPool or B4Group"]),
    (NORTH, {"kind": ABSENT}, ["document 2: kind: missing: AftrPool or B4Group"]),
    (POOL, {"kind": "[]"}, [
        "document 1: kind: a list is not allowed: AftrPool or B4Group", "0 AftrPools given: exactly one is needed"]),
]  # fmt: skip
