"""What the kernel says about an interface: index, MTU, MAC, VLAN, queues, offloads.

Everything is asked by rtnetlink and ioctl in the network namespace of the calling thread, never through /sys, which shows the one
it was mounted in.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.rtnl import RTM_GETLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from aftr.io.errors import DeviceError

_IFF_UP = 1
_NLM_F_REQUEST = 1
_SIOCETHTOOL = 0x8946
_GET_GRO, _GET_FLAGS, _GET_CHANNELS, _GET_DRIVER = 0x2B, 0x25, 0x3C, 0x03  # ETHTOOL_GGRO, GFLAGS, GCHANNELS, GDRVINFO
_FLAG_RX_VLAN, _FLAG_LRO = 1 << 8, 1 << 15  # enum ethtool_flags


@dataclass(frozen=True)
class Link:
    """A network interface as the kernel describes it; `parent` and `vlan` of a VLAN interface, else 0."""

    name: str
    index: int
    mtu: int
    mac: bytes
    up: bool
    parent: int = 0
    vlan: int = 0


@dataclass(frozen=True)
class Offloads:
    """Features of a device that change frames before we see them, and its queues."""

    driver: str
    gro: bool
    lro: bool
    rx_vlan: bool  # takes VLAN tags off received frames
    rx_queues: int
    tx_queues: int


def find_link(which: str | int) -> Link | None:
    """The interface of that name or index, None when there is none."""
    request = ifinfmsg()
    request["header"]["type"] = RTM_GETLINK
    request["header"]["flags"] = _NLM_F_REQUEST
    if isinstance(which, int):
        request["index"] = which
    else:
        request["attrs"] = [("IFLA_IFNAME", which)]
    request.encode()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(request.data)
        raw = netlink.recv(1 << 16)
    if struct.unpack_from("=H", raw, 4)[0] == 2:  # NLMSG_ERROR
        return None
    answer = ifinfmsg(raw)
    answer.decode()
    return link_of(answer)


def link_of(message: Any) -> Link:
    """A decoded RTM_NEWLINK → Link."""
    info = message.get_attr("IFLA_LINKINFO")
    vlan = parent = 0
    if info is not None and info.get_attr("IFLA_INFO_KIND") == "vlan":
        vlan = info.get_attr("IFLA_INFO_DATA").get_attr("IFLA_VLAN_ID")
        if message.get_attr("IFLA_LINK_NETNSID") is None:  # else the parent's index means another namespace
            parent = message.get_attr("IFLA_LINK")
    mac = message.get_attr("IFLA_ADDRESS") or ""
    return Link(
        name=message.get_attr("IFLA_IFNAME"),
        index=message["index"],
        mtu=message.get_attr("IFLA_MTU"),
        mac=bytes.fromhex(mac.replace(":", "")),
        up=bool(message["flags"] & _IFF_UP),
        parent=parent,
        vlan=vlan,
    )


def _ethtool(name: str, command: int, size: int) -> bytes | None:
    """The answer to an ETHTOOL_G… command, None when the driver has none."""
    data = array.array("B", struct.pack("=I", command) + bytes(size - 4))
    request = struct.pack("@16sP16x", name.encode(), data.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            fcntl.ioctl(sock, _SIOCETHTOOL, request)
        except OSError:
            return None
    return data.tobytes()


def offloads(name: str) -> Offloads:
    """Features of the interface as its driver reports them; one queue where it does not say."""
    driver = _ethtool(name, _GET_DRIVER, 196)
    gro = _ethtool(name, _GET_GRO, 8)
    flags = struct.unpack("=4xI", _ethtool(name, _GET_FLAGS, 8) or bytes(8))[0]
    channels = _ethtool(name, _GET_CHANNELS, 36)
    rx, tx, _, combined = struct.unpack("=20x4I", channels) if channels else (0, 0, 0, 1)
    return Offloads(
        driver=driver[4:36].rstrip(b"\0").decode() if driver else "",
        gro=bool(gro and struct.unpack("=4xI", gro)[0]),
        lro=bool(flags & _FLAG_LRO),
        rx_vlan=bool(flags & _FLAG_RX_VLAN),
        rx_queues=rx + combined,
        tx_queues=tx + combined,
    )


def forwards(name: str) -> list[str]:
    """The sysctls that make the host's own stack forward what arrives on the interface, and are on."""
    on = []
    for family in ("ipv4", "ipv6"):
        path = f"/proc/sys/net/{family}/conf/{name}/forwarding"
        try:
            with open(path) as file:
                if file.read().strip() == "1":
                    on.append(f"net.{family}.conf.{name}.forwarding")
        except OSError:
            continue
    return on


def need_link(name: str) -> Link:
    """The interface of that name; DeviceError when it is absent or down."""
    link = find_link(name)
    if link is None:
        raise DeviceError(f"there is no interface {name}")
    if len(link.mac) != 6:
        raise DeviceError(f"interface {name} is not an Ethernet one")
    if not link.up:
        raise DeviceError(f"interface {name} is down: run `ip link set {name} up`")
    return link
