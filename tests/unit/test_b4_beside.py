"""What runs beside the relay of a B4: commands, configurations, the clients' hooks, programs that end. No root needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from aftr.b4 import beside
from aftr.b4.beside import CLIENTS, HOOKS, Client, client_command, dnsmasq_command, running
from aftr.b4.command import Ends, following
from aftr.b4.errors import InterfaceError, ProgramError
from aftr.b4.wan import Interface, lan_address
from aftr_lab import processes

DUID = bytes.fromhex("00030001020000000001")


def hook(client: str, folder: Path, **environment: str) -> None:
    """Run a hook as the client does."""
    told = {"PATH": os.environ["PATH"], "B4_FOLDER": str(folder), "interface": "wan", **environment}
    subprocess.run([HOOKS / client], env=told, check=True, timeout=30)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("reason", ["BOUND6", "RENEW6", "REBIND6"])
def test_b02_a_hook_writes_resolvers_and_name(client: str, reason: str, tmp_path: Path) -> None:
    lease = {"new_dhcp6_name_servers": "2001:db8::53 2001:db8::54", "new_dhcp6_aftr_name": "s0.east.aftr.example.net."}
    hook(client, tmp_path, reason=reason, **lease)
    assert (tmp_path / "resolv.conf").read_text() == "nameserver 2001:db8::53\nnameserver 2001:db8::54\n"
    assert (tmp_path / "aftr-name").read_text() == "s0.east.aftr.example.net.\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["aftr-name", "resolv.conf"]


@pytest.mark.parametrize("client", CLIENTS)
def test_b02_a_lease_without_a_name_is_an_empty_name(client: str, tmp_path: Path) -> None:
    hook(client, tmp_path, reason="RENEW6")
    assert (tmp_path / "resolv.conf").read_text() == ""
    assert (tmp_path / "aftr-name").read_text() == "\n"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("reason", ["EXPIRE6", "STOP6", "DEPREF6", "DELEGATED6", "CARRIER"])
def test_b02_what_is_no_lease_changes_no_name(client: str, reason: str, tmp_path: Path) -> None:
    hook(client, tmp_path, reason=reason, old_dhcp6_aftr_name="s0.east.aftr.example.net")
    assert list(tmp_path.iterdir()) == []


def test_b02_dhclient_asks_for_option_64_under_our_duid(tmp_path: Path) -> None:
    command = client_command("dhclient", "wan", "lan", tmp_path, DUID)
    assert "dhclient -6 -N -P -d " in " ".join(command)
    assert "dhcp6.aftr-name" in (tmp_path / "dhclient.conf").read_text()
    leases = tmp_path / "dhclient.leases"
    assert leases.read_text() == 'default-duid "\\000\\003\\000\\001\\002\\000\\000\\000\\000\\001";\n'
    leases.write_text("lease6 {}\n")
    client_command("dhclient", "wan", "lan", tmp_path, DUID)
    assert leases.read_text() == "lease6 {}\n", "leases are kept when it starts again"


@pytest.mark.parametrize(
    ("enabled", "first"), [("Y\n", ["aa-exec", "--profile", "unconfined", "--", "dhclient"]), ("N\n", ["dhclient"])]
)
def test_dhclient_may_have_our_files_where_apparmor_would_not_let_it(
    enabled: str, first: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aa-exec").touch(mode=0o755)
    (tmp_path / "enabled").write_text(enabled)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(beside, "APPARMOR", tmp_path / "enabled")
    assert client_command("dhclient", "wan", "lan", tmp_path, DUID)[: len(first)] == first
    monkeypatch.setattr(processes, "APPARMOR", tmp_path / "enabled")
    assert processes.unconfined() == first[:-1]


def test_b02_dhcpcd_asks_for_option_64_an_address_and_a_prefix(tmp_path: Path) -> None:
    client_command("dhcpcd", "wan", "lan", tmp_path, DUID)
    conf = (tmp_path / "dhcpcd.conf").read_text()
    assert "duid 00:03:00:01:02:00:00:00:00:01\n" in conf
    assert "dhcp6_aftr_name" in conf
    assert "ia_na 1\n" in conf
    assert "ia_pd 2 lan/0/64/1\n" in conf
    client_command("dhcpcd", "wan", "lan", tmp_path, None)
    assert "duid" not in (tmp_path / "dhcpcd.conf").read_text()


def test_b04_dnsmasq_serves_the_lan_alone_and_keeps_nothing_of_answers(tmp_path: Path) -> None:
    command = dnsmasq_command("lan", IPv4Interface("192.168.1.1/24"), tmp_path)
    assert "--dhcp-range=192.168.1.10,192.168.1.254,255.255.255.0,12h" in command
    assert {"--interface=lan", "--bind-interfaces", "--except-interface=lo"} <= set(command)
    assert {"--proxy-dnssec", "--cache-size=0", f"--resolv-file={tmp_path}/resolv.conf"} <= set(command)


@pytest.mark.parametrize(
    ("addresses", "sentence"),
    [((), "has no IPv4 address"), ((IPv4Interface("192.168.1.1/28"),), "needs a /27 or larger")],
)
def test_b04_a_lan_without_room_is_refused(addresses: tuple[IPv4Interface, ...], sentence: str) -> None:
    with pytest.raises(InterfaceError, match=sentence):
        lan_address(Interface("lan", 1500, addresses, ()))


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_programs_run_beside_the_block_and_end_with_it() -> None:
    before = signal.getsignal(signal.SIGCHLD)
    others = children()  # of other tests
    with running([["sleep", "60"], ["sleep", "60"]]):
        assert len(children() - others) == 2
    assert children() <= others
    assert signal.getsignal(signal.SIGCHLD) == before


@pytest.mark.parametrize("client", CLIENTS)
def test_b02_what_the_last_run_was_told_is_not_followed(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("aa-exec", "dhclient", "unshare", "dnsmasq"):
        (tmp_path / program).write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    folder = tmp_path / "folder"
    folder.mkdir()
    hook(client, folder, reason="BOUND6", new_dhcp6_aftr_name="s0.east.aftr.example.net")
    with following(client, Ends("lo", "lo", None, None), "lo", DUID, folder) as follower:
        assert not (folder / "aftr-name").exists()
        assert not (folder / "resolv.conf").exists()
        assert follower.look(), "there is no name to be tried again"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [(["false"], "`false` ended with status 1"), (["not-there"], "not-there cannot be started")],
)
def test_a_program_that_ends_ends_the_block_in_a_sentence(command: list[str], sentence: str) -> None:
    with pytest.raises(ProgramError, match=sentence), running([["sleep", "60"], command]):
        time.sleep(30)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "give --aftr, or --client"),
        (["--aftr", "2001:db8::1", "--client", "dhcpcd"], "give --aftr, or --client"),
        (["--client", "dhclient"], "--client needs --lan"),
        (["--client", "dhclient", "--lan", "lo", "--duid", "xy"], "'xy' is not 3 to 130 bytes"),
    ],
)
def test_b02_what_cannot_be_meant_is_refused(options: list[str], sentence: str) -> None:
    command = [sys.executable, "-m", "aftr.b4", "--wan", "lo", *options]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert refused.returncode == 2
    assert sentence in refused.stderr
