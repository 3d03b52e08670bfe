"""The second provider: a real dnsmasq, its file, its answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from assignments import OTHER, S0, S1, b4, spread, whole
from dhcp_network import HOMES, SERVERS, Network, until
from dslite_operator.distribution.maps import Area
from dslite_operator.distribution.providers import dnsmasq
from dslite_operator.distribution.providers.dnsmasq import Dnsmasq, DnsmasqPlan
from dslite_operator.distribution.providers.errors import (
    ForeignError,
    RolledBackError,
    SilentError,
    UnreachableError,
    UnsuitableError,
)
from dslite_operator.distribution.providers.kea.provider import KeaPlan, KeaProvider
from dslite_operator.distribution.providers.probe import Prober
from dslite_operator.distribution.providers.provider import Provider

RANGES = {HOMES: "homes", OTHER: "others"}
PROBER = Prober(SERVERS["kea-1"], source_port=547, first_wait_s=0.3)


@pytest.fixture
def server(network: Network) -> Iterator[Dnsmasq]:
    """dnsmasq in the place of Kea, with a range for each subnet."""
    folder, log = network.folder, network.folder / "dnsmasq.log"
    made = Dnsmasq("us", folder / "options", folder / "dnsmasq.pid", RANGES, PROBER)
    made.options_file.touch()
    ranges = [f"--dhcp-range=set:{tag},{subnet[0x1000]},{subnet[0x1FFF]},64,2h" for subnet, tag in RANGES.items()]
    files = (
        f"--dhcp-optsfile={made.options_file}",
        f"--pid-file={made.pid_file}",
        f"--dhcp-leasefile={folder / 'leases'}",
    )
    quiet = ("--conf-file=/dev/null", "--keep-in-foreground", "--port=0", "--log-facility=-", "--user=root")
    with network.running("kea-1", "dnsmasq", *quiet, *files, "--interface=eth0", *ranges, log=log):
        until("dnsmasq runs", lambda: made.pid_file.exists() and "IPv6" in log.read_text())
        yield made


pytestmark = pytest.mark.lab


async def test_o01_a_group_on_its_subnet_is_told_one_name(server: Dnsmasq) -> None:
    assert await server.observe(b4(0)) is None
    plan = server.render([whole(copy='{"map": 1}'), whole("isp/others", S1, Area(OTHER))])
    await server.validate(plan)
    assert (await server.apply(plan)).changed
    assert [await server.observe(b4(0)), await server.observe(b4(0, subnet=OTHER))] == [S0, S1]
    assert not (await server.apply(plan)).changed
    assert await server.copies() == {"isp/homes": '{"map": 1}'}
    await server.apply(server.render([whole(name=S1)]))
    assert [await server.observe(b4(0)), await server.observe(b4(0, subnet=OTHER))] == [S1, None]


async def test_what_it_does_not_read_is_taken_back(
    network: Network, server: Dnsmasq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dnsmasq, "READS_AGAIN_S", 0.5)
    await server.apply(server.render([whole()]))
    before = server.options_file.read_text()
    elsewhere = Dnsmasq("us", network.folder / "elsewhere", server.pid_file, RANGES, PROBER)
    with pytest.raises(
        RolledBackError, match=r"is told s0.east.aftr.example.net by dnsmasq and not s1.*dhcp-optsfile="
    ):
        await elsewhere.apply(elsewhere.render([whole(name=S1)]))
    assert server.options_file.read_text() == before
    assert await server.observe(b4(0)) == S0
    network.ip("kea-1", "link", "set", "eth0", "down")
    with pytest.raises(SilentError):
        await server.apply(server.render([whole(name=S1)]))
    assert server.options_file.read_text() == before


async def test_what_it_cannot_do_and_what_is_not_ours(server: Dnsmasq) -> None:
    with pytest.raises(UnsuitableError, match=r"group isp/homes: dnsmasq tells all B4s of a subnet the same"):
        server.render([spread((S0, S1))])
    with pytest.raises(ForeignError, match=r"no dhcp-range of dnsmasq is known for subnet 2001:db8:99::/64"):
        server.render([whole("isp/homes", S0, Area(HOMES.__class__("2001:db8:99::/64")))])
    with pytest.raises(ForeignError, match=r"is asked for by several groups"):
        server.render([whole(), whole("isp/others", S1)])
    server.options_file.write_text("option6:23,[2001:db8::53]\n")
    with pytest.raises(ForeignError, match=r"options is not ours"):
        await server.apply(server.render([whole()]))
    assert server.options_file.read_text() == "option6:23,[2001:db8::53]\n"
    server.options_file.write_text("")
    server.pid_file.write_text(str(2**22 + os.getpid()))
    with pytest.raises(UnreachableError, match=r"no dnsmasq by .*dnsmasq.pid: .*No such process"):
        await server.validate(server.render([whole()]))


def test_both_are_providers() -> None:
    """For mypy as much as for pytest."""
    kea: Provider[KeaPlan] = KeaProvider("us", [])
    small: Provider[DnsmasqPlan] = Dnsmasq("us", Path("options"), Path("pid"), RANGES, PROBER)
    assert [one.live_update for one in (kea, small)] == [False, True]
