"""Membership in the solicited-node groups of tunnel addresses (RFC 4291 section 2.7.1), as RFC 4861 section 7.2.1 wants it.

The kernel is the member: it has the card take the groups' frames, and tells switches that listen to MLD (RFC 3810) to pass them on.
It has none of the addresses, so it stays silent when the solicitations themselves come.  Membership ends with the process.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

from aftr.io.errors import DeviceError

_JOIN_GROUP = 20  # IPV6_JOIN_GROUP
_SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))
GROUPS_PER_SOCKET = 64  # the kernel bounds the memory of a socket's groups (net.core.optmem_max)
HEARD = {"igbvf": 24}  # drivers that hear few groups, and how many besides the kernel's own (docs/nics.md)


def too_many(name: str, driver: str, count: int) -> str | None:
    """Why a device of this driver does not hear of all `count` addresses; None where it does."""
    heard = HEARD.get(driver, count)
    if count <= heard:
        return None
    return (
        f"{name} ({driver}) hears neighbours ask for {heard} slots at most, and the pool has {count}: with routing.layer2 routers"
        " find the others by announcements alone; use routing.bgp, or fewer slots"
    )


class SolicitedNodeGroups:
    """The groups of `count` addresses from `first` on, on the interface of that index. Raises DeviceError."""

    def __init__(self, interface: int, first: IPv6Address, count: int) -> None:
        self._sockets: list[socket.socket] = []
        groups = sorted({_SOLICITED_NODE | (int(first) + number) & 0xFFFFFF for number in range(count)})
        try:
            for place in range(0, len(groups), GROUPS_PER_SOCKET):
                self._sockets.append(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))
                for group in groups[place : place + GROUPS_PER_SOCKET]:
                    request = struct.pack("@16sI", group.to_bytes(16), interface)
                    self._sockets[-1].setsockopt(socket.IPPROTO_IPV6, _JOIN_GROUP, request)
        except OSError as error:
            self.close()
            raise DeviceError(
                f"the solicited-node groups of {first} and those after it cannot be joined ({error.strerror}):"
                " routing.layer2 needs IPv6 on the access interface (net.ipv6.conf.*.disable_ipv6=0)"
            ) from error

    def close(self) -> None:
        """Leave."""
        for one in self._sockets:
            one.close()
        self._sockets.clear()
