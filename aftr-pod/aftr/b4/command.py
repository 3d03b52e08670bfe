"""`aftr b4`: the command line of the reference B4."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from aftr.b4.beside import CLIENTS, Client, client_command, dnsmasq_command, running
from aftr.b4.errors import B4Error, ProgramError
from aftr.b4.follow import NAME_FILE, RESOLVERS_FILE, Follower
from aftr.b4.relay import Relay
from aftr.b4.softwire import Softwire
from aftr.b4.tun import B4_NETWORK, INNER_MTU, open_tun
from aftr.b4.wan import Address, Interface, lan_address, read_interface, refuse_ipv4, resolve_aftr, softwire_source

EXIT_REFUSED = 78  # EX_CONFIG of sysexits.h: starting again without a change is of no use
EXIT_ENDED = 1  # a program beside the relay has ended: starting again is right
AFTR_INNER_ADDRESS = IPv4Address("192.0.0.1")  # RFC 6333 §6.5
LONGEST_DUID = 130  # bytes, RFC 8415 §11.1


class StopRelay(BaseException):
    """A signal asked the relay to end."""


class Ipv6Parameter(click.ParamType[IPv6Address]):
    """An IPv6 address on the command line."""

    name = "IPv6"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> IPv6Address:
        try:
            return IPv6Address(value)
        except ValueError:
            self.fail(f"{value!r} is not an IPv6 address", param, ctx)


class InnerParameter(click.ParamType[IPv4Address]):
    """One of the B4's own addresses of 192.0.0.0/29: .2 to .6 (row B03)."""

    name = "IPv4"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> IPv4Address:
        usable = [host for host in B4_NETWORK.hosts() if host != AFTR_INNER_ADDRESS]
        if str(value) not in map(str, usable):
            self.fail(f"{value!r} is not one of {usable[0]} to {usable[-1]} (RFC 6333 §5.7)", param, ctx)
        return IPv4Address(value)


class DuidParameter(click.ParamType[bytes]):
    """A DUID on the command line: bytes in hexadecimal, with colons or without."""

    name = "DUID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        try:
            duid = bytes.fromhex(value.replace(":", ""))
        except ValueError:
            duid = b""
        if not 3 <= len(duid) <= LONGEST_DUID:
            self.fail(f"{value!r} is not 3 to {LONGEST_DUID} bytes such as 00:03:00:01:02:00:00:00:00:01", param, ctx)
        return duid


@click.command()
@click.option("--aftr", help="The AFTR: an IPv6 address, or a name with an AAAA record.")
@click.option(
    "--client",
    type=click.Choice(CLIENTS),
    help="Learn the AFTR's name by this DHCPv6 client instead, with our addresses.",
)
@click.option("--wan", required=True, metavar="DEV", help="The IPv6-only interface towards the provider.")
@click.option(
    "--lan", metavar="DEV", help="With --client: the LAN's interface, for the delegated prefix, DHCPv4 and DNS."
)
@click.option(
    "--address", type=Ipv6Parameter(), help="Our end of the softwire [default: the first global address of --source]."
)
@click.option(
    "--source",
    type=click.Choice(["wan", "lan"]),
    help="Whose address is our end: the WAN's, or the LAN's from the delegated prefix [default: lan with --client].",
)
@click.option(
    "--duid", type=DuidParameter(), help="With --client: who we are to the provider [default: the client's choice]."
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/run/dslite-b4"),
    show_default=True,
    help="With --client: where the client and dnsmasq keep their files.",
)
@click.option(
    "--tun", "tun_name", default="softwire", show_default=True, metavar="NAME", help="Name of the TUN device."
)
@click.option(
    "--inner", type=InnerParameter(), default="192.0.0.2", show_default=True, help="Our IPv4 address in the softwire."
)
@click.option(
    "--encap-limit",
    type=click.IntRange(0, 255),
    help="Send a tunnel encapsulation limit (RFC 2473 §4.1.1) in a Destination Options header, as Linux ip6tnl does with 4.",
)
@click.option(
    "-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the output."
)
def b4(
    aftr: str | None,
    client: Client | None,
    wan: str,
    lan: str | None,
    address: IPv6Address | None,
    source: str | None,
    duid: bytes | None,
    folder: Path,
    tun_name: str,
    inner: IPv4Address,
    encap_limit: int | None,
    output: str,
) -> None:
    """Reference B4 (RFC 6333 §5): carry everything IPv4 over a softwire to the AFTR.

    Makes a TUN device with the IPv4 default route and runs until it is interrupted. Prints one line when packets flow
    and one with its counters at the end. Forwarding between LAN and TUN is the kernel's (net.ipv4.ip_forward=1); there
    is no NAT here.

    With --client it is a whole customer router's part of DS-Lite: the DHCPv6 client asks for an address, a prefix and the
    AFTR's name (option 64), and the B4 follows that name; dnsmasq gives the LAN its IPv4 addresses and asks the
    provider's resolvers for it.
    """
    if (aftr is None) == (client is None):
        raise click.UsageError("give --aftr, or --client to learn it by DHCPv6")
    if client and not lan:
        raise click.UsageError("--client needs --lan: the delegated prefix and DHCPv4 are for it")
    try:
        refuse_ipv4(read_interface(wan))
        ends = Ends(wan, lan if lan and source != "wan" else wan, address, encap_limit)
        with stopped_by_signals(), ExitStack() as beside:
            follower = beside.enter_context(following(client, ends, str(lan), duid, folder)) if client else None
            softwire = follower.take() if follower else ends.softwire(ends.source().ip, resolve_aftr(str(aftr)))
            relay_until_stopped(read_interface(wan), softwire, follower, tun_name, inner, as_json=output == "json")
    except B4Error as error:
        click.echo(f"aftr b4: {error}", err=True)
        sys.exit(EXIT_ENDED if isinstance(error, ProgramError) else EXIT_REFUSED)


@dataclass(frozen=True)
class Ends:
    """How both ends of a softwire are found: on which interfaces, and what is sent."""

    wan: str
    device: str  # that our address is of
    address: IPv6Address | None
    encapsulation_limit: int | None

    def source(self) -> Address:
        """Our end just now.  Raises `InterfaceError` while there is none, or when the WAN has got IPv4 (row B05)."""
        refuse_ipv4(read_interface(self.wan))
        return softwire_source(read_interface(self.device), self.address)

    def softwire(self, source: IPv6Address, aftr: IPv6Address) -> Softwire:
        return Softwire(source, aftr, self.encapsulation_limit)


@contextmanager
def following(client: Client, ends: Ends, lan: str, duid: bytes | None, folder: Path) -> Iterator[Follower]:
    """The DHCPv6 client, dnsmasq, and what follows the names that the client is told, for the time of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    for of_last_run in (NAME_FILE, RESOLVERS_FILE):  # what they say may be true no more
        (folder / of_last_run).unlink(missing_ok=True)
    follower = Follower(folder, ends.source, ends.softwire, partial(click.echo, err=True))
    commands = [
        client_command(client, ends.wan, lan, folder, duid),
        dnsmasq_command(lan, lan_address(read_interface(lan)), folder),
    ]
    with running(commands):
        follower.start()
        yield follower


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Ends quietly at SIGINT and SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    with suppress(StopRelay):
        yield


def relay_until_stopped(
    wan: Interface, softwire: Softwire, follower: Follower | None, tun_name: str, inner: IPv4Address, *, as_json: bool
) -> None:
    """Open the TUN, say so, and relay until a signal; then print the counters."""
    with open_tun(tun_name, inner) as tun:
        relay = Relay(tun, softwire, follower)
        try:
            _announce(wan, softwire, tun_name, as_json)
            relay.run()
        finally:
            _conclude(asdict(relay.counters) | (asdict(follower.counters) if follower else {}), as_json)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise StopRelay


def _announce(wan: Interface, softwire: Softwire, tun_name: str, as_json: bool) -> None:
    source, aftr = softwire.source, softwire.aftr
    text = f"softwire {source} → {aftr} over {wan.device} (MTU {wan.mtu}) is up on {tun_name} (MTU {INNER_MTU})"
    ready = {"wan": wan.device, "wanMtu": wan.mtu, "tun": tun_name, "innerMtu": INNER_MTU}
    _print({"ready": {"source": source, "aftr": aftr, **ready}}, text, as_json)


def _conclude(counted: dict[str, int], as_json: bool) -> None:
    text = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counted.items())
    _print({"counters": counted}, text, as_json)


def _print(document: dict[str, Any], text: str, as_json: bool) -> None:
    click.echo(json.dumps(document) if as_json else text)
    sys.stdout.flush()
