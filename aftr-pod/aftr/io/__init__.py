"""Packets in and out: AF_XDP, AF_PACKET, pcap files, the steering program, next hops.

The packet's way through this folder: `steer.bpf.c` picks the frames that are ours, `rings` (AF_XDP) or `packet` (AF_PACKET) hand
them to a worker and take them back, `device` opens and reopens interfaces, `neighbours` says where frames are sent next.
Nothing here writes to a log: whatever a person should know is returned as a sentence.
"""
