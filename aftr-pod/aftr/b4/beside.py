"""What a customer's router has beside the relay: a stock DHCPv6 client towards the provider, dnsmasq towards the LAN (rows B02, B04).

Both keep their files in one folder, where the client's hook also writes `resolv.conf` and `aftr-name`.
"""

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Interface
from pathlib import Path
from types import FrameType
from typing import Literal, NoReturn

from aftr.b4.errors import ProgramError
from aftr.b4.follow import RESOLVERS_FILE

Client = Literal["dhclient", "dhcpcd"]
CLIENTS: tuple[Client, ...] = ("dhclient", "dhcpcd")

APPARMOR = Path("/sys/module/apparmor/parameters/enabled")
HOOKS = Path(__file__).parent / "hooks"
DHCPCD_FOLDER = "/var/lib/dhcpcd"  # where dhcpcd keeps its leases, whatever it is told
FIRST_LAN_HOST = 10
LAN_LEASE = "12h"
EDNS_BYTES = 1232  # answers over UDP that no IPv6 path fragments (RFC 9715)
ENDING_S = 5.0

DHCLIENT_CONF = "also request dhcp6.aftr-name;\n"

# One prefix to the LAN, as its first /64; RAs are the kernel's.
DHCPCD_CONF = """\
ipv6only
noipv6rs
nogateway
allowinterfaces {wan} {lan}
script {hooks}/dhcpcd
env B4_FOLDER={folder}
option dhcp6_name_servers, dhcp6_aftr_name
{duid}interface {wan}
    ia_na 1
    ia_pd 2 {lan}/0/64/1
"""


def client_command(client: Client, wan: str, lan: str, folder: Path, duid: bytes | None) -> list[str]:
    """The DHCPv6 client, in the foreground: asks for an address for `wan`, a prefix whose ::1 `lan` gets, and option 64.

    Its configuration is written into `folder`.  `duid` is who we are (RFC 8415 §11); None: the client's own choice.
    """
    return (_dhclient if client == "dhclient" else _dhcpcd)(wan, lan, folder, duid)


def _dhclient(wan: str, lan: str, folder: Path, duid: bytes | None) -> list[str]:
    conf, leases = folder / "dhclient.conf", folder / "dhclient.leases"
    conf.write_text(DHCLIENT_CONF)
    if duid and not leases.exists():
        octal = "".join(f"\\{byte:03o}" for byte in duid)
        leases.write_text(f'default-duid "{octal}";\n')
    files = ["-cf", str(conf), "-lf", str(leases), "-sf", str(HOOKS / "dhclient"), "--no-pid"]
    environment = ["-e", f"B4_FOLDER={folder}", "-e", f"B4_LAN={lan}"]
    return [*unconfined(), "dhclient", "-6", "-N", "-P", "-d", *files, *environment, wan]


def unconfined() -> list[str]:
    """What comes before a program whose AppArmor profile, Debian's, lets it have its usual files and hooks alone."""
    enforced = APPARMOR.exists() and APPARMOR.read_text().startswith("Y") and shutil.which("aa-exec")
    return ["aa-exec", "--profile", "unconfined", "--"] if enforced else []


def _dhcpcd(wan: str, lan: str, folder: Path, duid: bytes | None) -> list[str]:
    """It has fixed places for what it writes, which are our folder to it alone: several run on a machine, in network namespaces."""
    told = f"duid {duid.hex(':')}\n" if duid else ""
    conf = DHCPCD_CONF.format(wan=wan, lan=lan, hooks=HOOKS, folder=DHCPCD_FOLDER, duid=told)
    (folder / "dhcpcd.conf").write_text(conf)
    own = f'mount --bind "$0" {DHCPCD_FOLDER} && mount -t tmpfs tmpfs /run && exec "$@"'
    dhcpcd = ["dhcpcd", "--nobackground", "--config", f"{DHCPCD_FOLDER}/dhcpcd.conf", wan]
    return ["unshare", "--mount", "sh", "-c", own, str(folder), *dhcpcd]


def dnsmasq_command(lan: str, address: IPv4Interface, folder: Path) -> list[str]:
    """DHCPv4 for the LAN, and a DNS proxy that asks the provider's resolvers, over IPv6, and changes nothing (RFC 5625)."""
    hosts = address.network
    dhcp = [
        f"--dhcp-range={hosts[FIRST_LAN_HOST]},{hosts[-2]},{hosts.netmask},{LAN_LEASE}",
        f"--dhcp-leasefile={folder / 'dnsmasq.leases'}",
        "--dhcp-authoritative",
        "--dhcp-sequential-ip",
    ]
    proxy = [
        f"--resolv-file={folder / RESOLVERS_FILE}",
        f"--edns-packet-max={EDNS_BYTES}",
        "--proxy-dnssec",
        "--cache-size=0",
        "--no-hosts",
    ]
    place = [f"--interface={lan}", "--except-interface=lo", "--bind-interfaces"]
    return [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--log-facility=-",
        *place,
        *dhcp,
        *proxy,
    ]


@contextmanager
def running(commands: Sequence[list[str]]) -> Iterator[None]:
    """These programs beside the block.  Raises `ProgramError` inside it as soon as one of them has ended."""
    programs: list[subprocess.Popen[bytes]] = []

    def ended(number: int, frame: FrameType | None) -> None:
        for program in programs:
            if program.poll() is not None:
                _refuse(program)

    before = signal.signal(signal.SIGCHLD, ended)
    try:
        programs.extend(map(_start, commands))
        ended(signal.SIGCHLD, None)  # one may have ended before it was in the list
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)
        _end(programs)


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise ProgramError(f"{command[0]} cannot be started ({error.strerror}): install it") from error


def _refuse(program: subprocess.Popen[bytes]) -> NoReturn:
    words = program.args if isinstance(program.args, list) else [program.args]
    raise ProgramError(
        f"`{' '.join(map(str, words))}` ended with status {program.returncode}: what it wrote above says why"
    )


def _end(programs: list[subprocess.Popen[bytes]]) -> None:
    for program in programs:
        program.terminate()
    for program in programs:
        try:
            program.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
