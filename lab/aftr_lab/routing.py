"""The lab's router: the other end of the AFTRs' BGP sessions, as a provider would set it up. Pure but for `router_sessions`."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from aftr_lab.errors import LabError
from aftr_lab.network import run
from aftr_lab.plan import ROUTER_IPV4, ROUTER_IPV6, Aftr, Plan
from dslite_contract.schema import Bgp, Peer

BFD = "interval 300 ms; multiplier 3;"
TIME_FORMAT = "%F-%T"  # one word

# Of the routes to a slot the one with the lowest MED wins, that of the newest owner: no multipath, and MEDs of one AS are compared.
HEAD = f"""\
log stderr {{ info, remote, warning, error, auth, fatal, bug }};
router id {ROUTER_IPV4};
timeformat protocol "{TIME_FORMAT}";
protocol device {{ scan time 10; }}
protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; }}
protocol kernel {{ ipv6 {{ import none; export where source = RTS_BGP; }}; }}
protocol bfd {{ interface "*" {{ {BFD} }}; }}
"""

SESSION = """\
protocol bgp '{name}' {{
    local {here} as {peer.asn};
    neighbor {there} as {bgp.local_asn};
    direct;
    ttl security on;
    bfd on;
    graceful restart off;
    hold time 9;
    keepalive time 3;
    connect delay time 1;
    connect retry time 2;
    error wait time 1, 4;
    error forget time 10;
    {family} {{ import all; export none; gateway direct; }};
}}
"""


def bgp_of(plan: Plan) -> Bgp | None:
    """The pool's `routing.bgp`, None if its routes are static. Raises `LabError` for peers that the lab's router cannot be."""
    routing = plan.pool.spec.routing
    if routing is None or routing.bgp is None:
        return None
    for peer in routing.bgp.peers:
        if peer.address not in (ROUTER_IPV6, ROUTER_IPV4):
            raise LabError(
                f"BGP peer {peer.name} has the address {peer.address}: the lab's router has {ROUTER_IPV6} and {ROUTER_IPV4}"
            )
        if peer.password_secret:
            raise LabError(f"BGP peer {peer.name} has a passwordSecret: the lab has no Secrets, leave it out")
    return routing.bgp


def session_name(aftr: Aftr, peer: Peer) -> str:
    """How the router calls its session with an AFTR."""
    return f"{aftr.name}-{peer.name}"


def aftr_address(aftr: Aftr, peer: Peer) -> IPv4Address | IPv6Address:
    """The AFTR's end of its session with this peer."""
    return aftr.access_address if peer.address.version == 6 else aftr.internet_address


def router_conf(bgp: Bgp, aftrs: tuple[Aftr, ...]) -> str:
    """The router's bird.conf: a session with every AFTR for each of its peers."""
    return HEAD + "".join(_sessions(bgp, aftrs))


def _sessions(bgp: Bgp, aftrs: tuple[Aftr, ...]) -> Iterator[str]:
    for aftr in aftrs:
        for peer in bgp.peers:
            yield SESSION.format(
                name=session_name(aftr, peer),
                here=peer.address,
                there=aftr_address(aftr, peer),
                peer=peer,
                bgp=bgp,
                family=peer.families[0],
            )


def router_command(configuration: Path, socket: Path) -> list[str]:
    """Start BIRD on the router, in the foreground."""
    return ["bird", "-f", "-c", str(configuration), "-s", str(socket)]


def router_sessions(namespace: str, socket: Path) -> dict[str, str]:
    """The router's BGP sessions and their states, such as Established or Active; {} while BIRD does not answer."""
    try:
        listing = run(namespace, ["birdc", "-s", str(socket), "show", "protocols"])
    except LabError:
        return {}
    rows = [line.split() for line in listing.splitlines()]
    return {row[0]: row[5] if len(row) > 5 else "Down" for row in rows if len(row) > 1 and row[1] == "BGP"}


def describe_sessions(bgp: Bgp, aftrs: tuple[Aftr, ...]) -> list[dict[str, Any]]:
    """The sessions for `aftr-lab status`."""
    return [
        {"name": session_name(aftr, peer), "aftr": aftr.name, "peer": peer.name, "families": list(peer.families)}
        | {"router": str(peer.address), "address": str(aftr_address(aftr, peer))}
        for aftr in aftrs
        for peer in bgp.peers
    ]
