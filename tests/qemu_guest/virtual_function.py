"""The one virtual function of a card in a guest: made, configured, taken away and given back as the machine's administrator does it."""

from __future__ import annotations

from dataclasses import dataclass

from qemu_guest.guest import Guest

DRIVERS = ("igb", "igbvf")


@dataclass(frozen=True)
class VirtualFunction:
    """The function of the card in bus `bus`.  Its network device gets the name and the address; `gateway` is the router on its wire."""

    guest: Guest
    name: str
    bus: int
    address: str
    gateway: str

    @property
    def card(self) -> str:
        return f"/sys/bus/pci/devices/0000:{self.bus:02x}:00.0"

    @property
    def place(self) -> str:
        """Where an 82576 has its first function."""
        return f"0000:{self.bus:02x}:10.0"

    def _shell(self, *lines: str) -> None:
        self.guest.run("sh", "-euc", "\n".join(lines))

    def give(self) -> None:
        """Make it, with a MAC address that stays, and bind it.  It has a link only while its card has one."""
        self._shell(
            f"card=$(ls {self.card}/net)",
            'ip link set "$card" up',
            f"echo 0 > {self.card}/sriov_drivers_autoprobe",
            f"echo 1 > {self.card}/sriov_numvfs",
            f'ip link set "$card" vf 0 mac 02:00:00:00:{self.bus:02x}:10',
            f"echo 1 > {self.card}/sriov_drivers_autoprobe",
        )
        self.bind()

    def take(self) -> None:
        """Take it off its card: hot-removed."""
        self._shell(f"echo 0 > {self.card}/sriov_numvfs")

    def unbind(self) -> None:
        """Take it from its driver, as for a virtual machine."""
        self._shell(f"echo {self.place} > /sys/bus/pci/drivers/igbvf/unbind")

    def bind(self) -> None:
        """Give it to its driver, and configure its network device."""
        self._shell(
            f"echo {self.place} > /sys/bus/pci/drivers/igbvf/bind",
            f"ip link set $(ls /sys/bus/pci/devices/{self.place}/net) name {self.name}",
            f"ip address add {self.address} dev {self.name}",
            f"ip link set {self.name} up",
            f"ip route add {'::/0' if ':' in self.address else '0.0.0.0/0'} via {self.gateway} dev {self.name}",
        )
