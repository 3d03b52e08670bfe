"""The addresses that the kernel has on the devices of the pool's interfaces."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_interface

from pyroute2 import AsyncIPRoute

from aftr.announce.config import InterfaceAddress

_UNUSABLE = 0x08 | 0x40  # IFA_F_DADFAILED, IFA_F_TENTATIVE
_UNIVERSE = 0  # RT_SCOPE_UNIVERSE: link-local addresses have another scope


async def read_addresses(devices: Mapping[str, str]) -> dict[str, tuple[InterfaceAddress, ...]]:
    """Usable addresses by name of interface; `devices` gives its device. A device that is not there has none."""
    found: dict[str, list[InterfaceAddress]] = {name: [] for name in devices}
    async with AsyncIPRoute() as netlink:
        names = {message["index"]: message.get_attr("IFLA_IFNAME") async for message in await netlink.link("dump")}
        messages = [message async for message in await netlink.addr("dump")]
    for message in messages:
        device, flags = names.get(message["index"]), message.get_attr("IFA_FLAGS") or message["flags"]
        if message["scope"] != _UNIVERSE or flags & _UNUSABLE:
            continue
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        for name in (name for name, one in devices.items() if one == device):
            found[name].append(ip_interface(f"{text}/{message['prefixlen']}"))
    return {name: tuple(addresses) for name, addresses in found.items()}
