"""Tap devices in a namespace's bridge: the wires of a guest's cards."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2 import IPRoute

from aftr.b4.tun import IFF_NO_PI, TUNSETIFF
from veths import inside

IFF_TAP = 0x0002  # linux/if_tun.h


@contextmanager
def tap(namespace: str, name: str, bridge: str) -> Iterator[int]:
    """A port of that bridge, whose other end is the descriptor; gone when all that have the descriptor have closed it."""
    with inside(namespace):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        with IPRoute(netns=namespace, flags=0) as netlink:
            index, master = (netlink.link_lookup(ifname=one)[0] for one in (name, bridge))
            netlink.link("set", index=index, master=master, state="up")
        yield descriptor
    finally:
        os.close(descriptor)
