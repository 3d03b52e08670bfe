// SPDX-License-Identifier: Apache-2.0
// Which frames of an interface are the AFTR's: they go to the AF_XDP socket of their receive queue, all others to the kernel
// (neighbours, BGP, management).  Ours are: IPv4 in IPv6 to a slot's tunnel address, also behind Hop-by-Hop and Destination
// Options (RFC 6333, rows D01 and D24); fragments to it; echo requests and ICMPv6 errors to it; IPv4 to a NAT prefix.
// `bpf.py` fills the maps and changes them while the program runs.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define ACCESS 1   /* flags of `vlans`: softwires are expected with this tag, */
#define INTERNET 2 /* or IPv4 */
#define ANSWER_NEIGHBOURS 1 /* flag of `softwire`: ARP and neighbour discovery about these addresses are the engine's */
#define NEIGHBOUR(type) ((type) == 135 || (type) == 136) /* solicitation, advertisement */
#define MAX_HEADERS 8 /* extension headers that are looked behind */
#define SLOT_ICMP6(type) ((type) == 128 || ((type) >= 1 && (type) <= 4)) /* echo request; unreachable … parameter problem */

struct softwire {
	__be32 prefix[3]; /* slot addresses are prefix:first … prefix:(first + slots - 1) */
	__u32 first, slots, flags;
	__u8 mac[6]; /* destination of frames for us; all zero: any */
	__u8 pad[2];
};
struct pool_key { __u32 length; __be32 address; };

struct { __uint(type, BPF_MAP_TYPE_XSKMAP); __uint(max_entries, 256); __type(key, __u32); __type(value, __u32); } xsks SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct softwire); } softwire SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4096); __type(key, __u32); __type(value, __u32); } vlans SEC(".maps"); /* 0: untagged */
struct { __uint(type, BPF_MAP_TYPE_LPM_TRIE); __uint(max_entries, 1024); __uint(map_flags, BPF_F_NO_PREALLOC);
	 __type(key, struct pool_key); __type(value, __u32); } pools SEC(".maps");

static __always_inline int is_slot(const struct softwire *ours, const __be32 *address)
{
	return address[0] == ours->prefix[0] && address[1] == ours->prefix[1] && address[2] == ours->prefix[2] &&
	       bpf_ntohl(address[3]) - ours->first < ours->slots;
}

static __always_inline int in_pool(__be32 address)
{
	struct pool_key key = {32, address};
	return bpf_map_lookup_elem(&pools, &key) != 0;
}

static __always_inline int is_ours6(const struct softwire *ours, struct ipv6hdr *ip, void *end, int to_us)
{
	if ((void *)(ip + 1) > end)
		return 0;
	__u8 *header = (void *)(ip + 1), next = ip->nexthdr;
	if (next == IPPROTO_ICMPV6 && (void *)(header + 24) <= end && NEIGHBOUR(header[0]) && is_slot(ours, (void *)(header + 8)))
		return (ours->flags & ANSWER_NEIGHBOURS) && (to_us || ip->daddr.s6_addr[0] == 0xff);
	if (!to_us || !is_slot(ours, ip->daddr.s6_addr32))
		return 0;
#pragma unroll
	for (int i = 0; i < MAX_HEADERS; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS)
			break;
		if ((void *)(header + 8) > end)
			return 1; /* truncated: the engine drops and counts it */
		next = header[0];
		header += 8 * (header[1] + 1);
	}
	if (next == IPPROTO_ICMPV6)
		return (void *)(header + 1) > end || SLOT_ICMP6(header[0]);
	return next == IPPROTO_IPIP || next == IPPROTO_FRAGMENT || next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS;
}

SEC("xdp") int steer(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	__u32 zero = 0, vlan = 0, *sides;
	struct softwire *ours = bpf_map_lookup_elem(&softwire, &zero);
	if (!ours || (void *)(ethernet + 1) > end)
		return XDP_PASS;
	__be16 type = ethernet->h_proto;
	void *ip = ethernet + 1;
	if (type == bpf_htons(ETH_P_8021Q)) {
		if (ip + 4 > end)
			return XDP_PASS;
		vlan = bpf_ntohs(*(__be16 *)ip) & 0xfff;
		type = *(__be16 *)(ip + 2);
		ip += 4;
	}
	sides = bpf_map_lookup_elem(&vlans, &vlan);
	if (!sides)
		return XDP_PASS;
	const __u16 *mac = (void *)ours->mac, *to = (void *)ethernet->h_dest;
	int to_us = !(mac[0] | mac[1] | mac[2]) || (to[0] == mac[0] && to[1] == mac[1] && to[2] == mac[2]);
	int taken = 0;
	if (type == bpf_htons(ETH_P_IPV6) && *sides & ACCESS)
		taken = is_ours6(ours, ip, end, to_us);
	else if (type == bpf_htons(ETH_P_IP) && *sides & INTERNET && to_us && ip + sizeof(struct iphdr) <= end)
		taken = in_pool(((struct iphdr *)ip)->daddr);
	else if (type == bpf_htons(ETH_P_ARP) && *sides & INTERNET && ours->flags & ANSWER_NEIGHBOURS && ip + 28 <= end)
		taken = (to_us || ethernet->h_dest[0] & 1) && in_pool(*(__be32 *)(ip + 24)); /* the target's address */
	return taken ? bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS) : XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0";
