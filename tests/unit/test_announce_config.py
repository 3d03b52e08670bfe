"""What BIRD is told: from a pool and an AFTR's addresses to bird.conf, and its answers back."""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import IPv4Network, IPv6Network, ip_interface
from pathlib import Path

import pytest

from aftr.announce.config import Addresses, bird_conf, router_id
from aftr.announce.control import bgp_states
from aftr.announce.errors import AnnounceError
from aftr.announce.routes import LARGEST_EPOCH, SLOT_TABLE, metric_of, slot_networks
from contract_objects import full
from dslite_contract.schema import AftrPool

PASSWORDS = {"tor": "a secret"}
ADDRESSES: Addresses = {
    "access": (ip_interface("2001:db8::11/64"), ip_interface("fe80::11/64")),
    "internet": (ip_interface("203.0.113.200/30"), ip_interface("198.51.100.11/24")),
    "internet-b": (ip_interface("198.51.101.11/25"),),
}
BIRD = shutil.which("bird", path="/usr/sbin:/usr/bin")


def pool(edits: dict[str, str] | None = None) -> AftrPool:
    return full(edits).pool


def conf(edits: dict[str, str] | None = None, addresses: Addresses = ADDRESSES, *, bfd: bool = True) -> str:
    return bird_conf(pool(edits), addresses, PASSWORDS, bfd=bfd)


def sessions(text: str) -> dict[str, str]:
    return dict(re.findall(r"^protocol bgp '([\w-]+)' \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE))


def test_a_session_is_from_the_address_that_shares_the_peers_link() -> None:
    found = sessions(conf())
    assert list(found) == ["tor6", "tor4", "tor4b"]
    assert "local 2001:db8::11 as 64512;" in found["tor6"]
    assert "neighbor 2001:db8::1 as 64500;" in found["tor6"]
    assert "local 198.51.100.11 as 64512;" in found["tor4"]
    assert "neighbor 198.51.101.254 as 64501;" in found["tor4b"]


def test_next_hop_is_that_address_and_med_the_metric() -> None:
    found = sessions(conf())
    for name, address in (("tor6", "2001:db8::11"), ("tor4", "198.51.100.11"), ("tor4b", "198.51.101.11")):
        assert f"import none; next hop address {address}; export filter" in found[name]
        assert "{ bgp_med = krt_metric; accept; } reject;" in found[name]
        assert "graceful restart off;" in found[name]


def test_each_arm_announces_its_own_addresses_and_no_others() -> None:
    found = sessions(conf())
    assert "ipv6 {" in found["tor6"]
    assert "net ~ [ 2001:db8:64::/64{128,128} ]" in found["tor6"]
    nowhere = "192.0.2.0/24+, 203.0.113.128/25+"  # the NAT pool that names no interface
    assert f"net ~ [ {nowhere}, 203.0.113.10/32 ]" in found["tor4"]
    assert f"net ~ [ {nowhere}, 198.51.100.0/25+, 203.0.113.10/32 ]" in found["tor4b"]


def test_hops_are_counted_only_on_the_link() -> None:
    found = sessions(conf())
    assert "ttl security on;" in found["tor4"]
    assert "direct;" in found["tor4"]
    assert "ttl security" not in found["tor4b"]  # 198.51.101.254 is not in 198.51.101.0/25
    assert "multihop;" in found["tor4b"]


def test_bfd_and_passwords_are_there_when_asked_for() -> None:
    assert 'password "a secret";' in sessions(conf())["tor6"]
    assert "password" not in sessions(conf())["tor4"]
    assert "interval 300 ms; multiplier 3;" in conf()
    assert "bfd on;" in sessions(conf())["tor4"]
    assert "bfd" not in conf(bfd=False)


def test_both_families_are_learned_from_the_slots_table_alone() -> None:
    kernels = re.findall(r"protocol kernel (\w+) \{ kernel table (\d+); learn; .*export none", conf())
    assert kernels == [("slots4", str(SLOT_TABLE)), ("slots6", str(SLOT_TABLE))]


def test_router_id_is_an_ipv4_address_or_made_of_an_ipv6_address() -> None:
    assert router_id(ADDRESSES) == "203.0.113.200"
    only = router_id({"access": ADDRESSES["access"]})
    assert only != router_id({"access": (ip_interface("2001:db8::12/64"),)})
    assert re.fullmatch(r"(\d+\.){3}\d+", only)
    with pytest.raises(AnnounceError, match="no interface has an address"):
        router_id({"access": ()})


@pytest.mark.parametrize(
    ("edits", "addresses", "said"),
    [
        (
            {},
            {**ADDRESSES, "access": (ip_interface("fe80::11/64"),)},
            "peer tor6: interface access has no IPv6 address",
        ),
        ({}, {"internet": ADDRESSES["internet"]}, "peer tor6: interface access has no IPv6 address"),
        (
            {"spec.routing.bgp.peers[1].passwordSecret": "other"},
            ADDRESSES,
            "peer tor4: no password was given for secret other",
        ),
        ({"spec.routing": "(absent)"}, ADDRESSES, "AftrPool east has no spec.routing.bgp"),
    ],
)
def test_what_is_missing_is_named(edits: dict[str, str], addresses: Addresses, said: str) -> None:
    with pytest.raises(AnnounceError, match=said):
        conf(edits, addresses)


@pytest.mark.parametrize("password", ["", 'a"; }', "two\nlines", "x" * 81])
def test_a_password_that_bird_cannot_read_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(AnnounceError, match="peer tor6: its password is not") as refusal:
        bird_conf(pool(), ADDRESSES, {"tor": password})
    assert not password or password not in str(refusal.value)


@pytest.mark.skipif(BIRD is None, reason="bird2 is not installed")
@pytest.mark.parametrize(
    "edits", [{}, {"spec.routing.bgp.peers[0].asn": "64512"}, {"spec.routing.bgp.peers[0].name": "6-and-7"}]
)
def test_bird_accepts_it(edits: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "bird.conf"
    for bfd in (True, False):
        file.write_text(conf(edits, bfd=bfd))
        checked = subprocess.run([str(BIRD), "-p", "-c", str(file)], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_networks_of_a_slot() -> None:
    assert slot_networks(pool(), 3) == (
        IPv6Network("2001:db8:64::4/128"),
        IPv4Network("192.0.2.48/28"),
        IPv4Network("203.0.113.152/29"),
        IPv4Network("198.51.100.96/27"),
        IPv4Network("203.0.113.10/32"),
    )
    assert len(slot_networks(pool(), 4)) == 3


def test_the_newer_epoch_has_the_lower_metric_and_none_is_zero() -> None:
    assert metric_of(0) == 0xFFFFFFFF
    assert metric_of(7) == 0xFFFFFFF8 < metric_of(6)
    assert metric_of(LARGEST_EPOCH) == 1
    for epoch in (-1, LARGEST_EPOCH + 1):
        with pytest.raises(AnnounceError, match="cannot be announced"):
            metric_of(epoch)


def test_states_of_sessions_are_read() -> None:
    lines = [
        (2002, "Name       Proto      Table      State  Since         Info"),
        (1002, "device1    Device     ---        up     2026-11-23-08:00:00  "),
        (1002, "tor6       BGP        ---        up     2026-11-23-08:00:01  Established   "),
        (1002, "tor4       BGP        ---        start  2026-11-23-08:00:00  Active        Socket: Connection refused"),
        (1002, "tor4b      BGP        ---        down   2026-11-23-08:00:00  "),
        (0, ""),
    ]
    assert bgp_states(lines) == {"tor6": "Established", "tor4": "Active", "tor4b": "Down"}
