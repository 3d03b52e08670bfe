"""`aftr b4`: the command line of the reference B4."""

import json
import signal
import sys
from dataclasses import asdict
from ipaddress import IPv4Address, IPv6Address
from types import FrameType
from typing import Any, NoReturn

import click

from aftr.b4.errors import B4Error
from aftr.b4.relay import Counters, Relay
from aftr.b4.softwire import Softwire
from aftr.b4.tun import B4_NETWORK, INNER_MTU, open_tun
from aftr.b4.wan import Wan, read_wan, refuse_ipv4, resolve_aftr, softwire_source

EXIT_REFUSED = 78  # EX_CONFIG of sysexits.h: starting again without a change is of no use
AFTR_INNER_ADDRESS = IPv4Address("192.0.0.1")  # RFC 6333 §6.5


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


@click.command()
@click.option("--aftr", required=True, help="The AFTR: an IPv6 address, or a name with an AAAA record.")
@click.option("--wan", required=True, metavar="DEV", help="The IPv6-only interface towards the provider.")
@click.option(
    "--address", type=Ipv6Parameter(), help="Our end of the softwire [default: the WAN's first global address]."
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
    aftr: str,
    wan: str,
    address: IPv6Address | None,
    tun_name: str,
    inner: IPv4Address,
    encap_limit: int | None,
    output: str,
) -> None:
    """Reference B4 (RFC 6333 §5): carry everything IPv4 over a softwire to the AFTR.

    Makes a TUN device with the IPv4 default route and runs until it is interrupted. Prints one line when packets flow
    and one with its counters at the end. Forwarding between LAN and TUN is the kernel's (net.ipv4.ip_forward=1); there
    is no NAT here.
    """
    try:
        provider = read_wan(wan)
        refuse_ipv4(provider)
        softwire = Softwire(softwire_source(provider, address), resolve_aftr(aftr), encap_limit)
        relay_until_stopped(provider, softwire, tun_name, inner, as_json=output == "json")
    except B4Error as error:
        click.echo(f"aftr b4: {error}", err=True)
        sys.exit(EXIT_REFUSED)


def relay_until_stopped(wan: Wan, softwire: Softwire, tun_name: str, inner: IPv4Address, *, as_json: bool) -> None:
    """Open the TUN, say so, and relay until a signal; then print the counters."""
    with open_tun(tun_name, inner) as tun:
        relay = Relay(tun, softwire)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        try:
            _announce(wan, softwire, tun_name, as_json)
            relay.run()
        except StopRelay:
            _conclude(relay.counters, as_json)
        finally:
            softwire.close()


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise StopRelay


def _announce(wan: Wan, softwire: Softwire, tun_name: str, as_json: bool) -> None:
    source, aftr = softwire.source, softwire.aftr
    text = f"softwire {source} → {aftr} over {wan.device} (MTU {wan.mtu}) is up on {tun_name} (MTU {INNER_MTU})"
    ready = {"wan": wan.device, "wanMtu": wan.mtu, "tun": tun_name, "innerMtu": INNER_MTU}
    _print({"ready": {"source": source, "aftr": aftr, **ready}}, text, as_json)


def _conclude(counters: Counters, as_json: bool) -> None:
    counted = asdict(counters)
    text = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counted.items())
    _print({"counters": counted}, text, as_json)


def _print(document: dict[str, Any], text: str, as_json: bool) -> None:
    click.echo(json.dumps(document) if as_json else text)
    sys.stdout.flush()
