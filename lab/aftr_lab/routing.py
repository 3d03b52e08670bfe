"""The lab's router: the other end of the AFTRs' BGP sessions, as a provider would set it up. Pure but for `router_sessions`."""

from collections.abc import Iterable
from pathlib import Path

from aftr_lab.errors import LabError
from aftr_lab.network import run
from aftr_lab.plan import ROUTER_IPV4, Session
from dslite_contract.schema import Bgp

BFD = "interval 300 ms; multiplier 3;"
ESTABLISHED = "Established"
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
protocol bgp '{session.name}' {{
    local {peer.address} as {peer.asn};
    {neighbour}
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


def router_conf(bgp: Bgp, sessions: Iterable[Session]) -> str:
    """The router's bird.conf."""
    return HEAD + "".join(_session(bgp, session) for session in sessions)


def _session(bgp: Bgp, session: Session) -> str:
    """With one AFTR; or with each on the link, then named tor6-1, tor6-2, … as they come."""
    if session.aftr:
        neighbour = f"neighbor {session.address} as {bgp.local_asn};"
    else:
        neighbour = f'neighbor range {session.address} as {bgp.local_asn}; dynamic name "{session.name}-";'
    peer = session.peer
    return SESSION.format(session=session, neighbour=neighbour, peer=peer, bgp=bgp, family=peer.families[0])


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
