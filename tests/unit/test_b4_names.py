"""Which names of option 64 a B4 follows, and what it does with the others (RFC 6334). No root needed."""

from __future__ import annotations

import os
import select
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from aftr.b4 import follow
from aftr.b4.errors import AftrNameError, InterfaceError
from aftr.b4.follow import NAME_FILE, Follower
from aftr.b4.names import absolute_name, resolve_over_ipv6
from aftr.b4.wan import Address

OURS, OURS_LATER = IPv6Address("2001:db8:1000::1"), IPv6Address("2001:db8:1001::1")
AFTRS = {
    "s0.east.aftr.example.net": IPv6Address("2001:db8:64::1"),
    "s1.east.aftr.example.net": IPv6Address("2001:db8:64::2"),
}


@pytest.mark.parametrize(
    "text", ["s0.east.aftr.example.net", "S0.East.aftr.example.net.", " s0.east.aftr.example.net.\n"]
)
def test_b02_an_absolute_name_with_or_without_its_last_dot(text: str) -> None:
    assert absolute_name(text) == "s0.east.aftr.example.net"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        (".", "it is empty"),
        ("\n", "it is empty"),
        ("2001:db8::1", "it is an address"),
        ("2001:db8::1.", "it is an address"),
        ("192.0.2.1", "it is an address"),
        ("aftr.", "it has a single label"),
        ("a..example.net", "it is no host name"),
        ("-a.example.net", "it is no host name"),
        ("a_b.example.net", "it is no host name"),
        ("a.example.net b.example.net", "it is no host name"),
        (f"{'a' * 64}.example.net", "it is no host name"),
        (f"{'a.' * 130}net", "it is no host name"),
        ("ä.example.net", "it is no host name"),
    ],
)
def test_b02_what_is_no_absolute_name_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(AftrNameError, match=reason):
        absolute_name(text)


@pytest.mark.parametrize(
    ("resolvers", "reason"),
    [("", "no nameservers"), ("nameserver 192.0.2.53\n", "the provider named no IPv6 resolver")],
)
def test_b02_no_resolver_is_asked_over_ipv4(tmp_path: Path, resolvers: str, reason: str) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(resolvers)
    with pytest.raises(AftrNameError, match=f"does not resolve.*{reason}"):
        resolve_over_ipv6("s0.east.aftr.example.net", file)


class Softwire:
    """Stands for an open softwire: which ends it has, and whether it was closed."""

    def __init__(self, source: IPv6Address, aftr: IPv6Address) -> None:
        self.ends = source, aftr
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Home:
    """A follower whose client, address and resolver are the test's."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.said: list[str] = []
        self.source: IPv6Address | None = OURS
        self.deprecated = False
        self.folder = folder
        monkeypatch.setattr(follow, "resolve_over_ipv6", self._resolve)
        self.follower = Follower(folder, self._source, Softwire, self.said.append)  # type: ignore[arg-type]

    def _resolve(self, name: str, resolvers: Path) -> IPv6Address:
        self.asked.append(name)
        if name not in AFTRS:
            raise AftrNameError(f"{name} does not resolve")
        return AFTRS[name]

    def _source(self) -> Address:
        if self.source is None:
            raise InterfaceError("interface lan has no global IPv6 address")
        return Address(self.source, self.deprecated)

    def told(self, name: str) -> bool:
        """The client writes a name; whether the follower is settled with it."""
        (self.folder / NAME_FILE).write_text(name + "\n")
        return self.follower.look()

    def news(self) -> bool:
        return bool(select.select([self.follower.news], [], [], 0)[0])

    def ends(self) -> tuple[IPv6Address, IPv6Address]:
        taken = self.follower.take()
        assert isinstance(taken, Softwire)
        assert not taken.closed
        return taken.ends


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(tmp_path, monkeypatch)


S0, S1 = AFTRS
LONG_AGO = 3  # renewals


def test_b02_without_a_lease_nothing_happens(home: Home) -> None:
    assert home.follower.look()
    assert not home.news()
    assert home.said == []


def test_b02_a_name_is_resolved_when_it_changes_and_not_again(home: Home) -> None:
    for _ in range(LONG_AGO):
        assert home.told(S0)
    assert home.ends() == (OURS, AFTRS[S0])
    assert home.told(S1)
    assert home.ends() == (OURS, AFTRS[S1])
    assert home.told(S1 + ".")
    assert not home.news()
    assert home.asked == [S0, S1]
    assert home.follower.counters.names_followed == 2


def test_b02_a_refused_name_is_counted_and_said_once_and_the_softwire_stays(home: Home) -> None:
    home.told(S0)
    home.ends()
    for name in ("2001:db8::1", "2001:db8::1", "", S0):
        assert home.told(name), "nothing to try again"
    assert not home.news()
    assert home.asked == [S0]
    assert home.follower.counters.names_refused == 2
    assert sum("is refused" in line for line in home.said) == 2


def test_b02_a_name_that_does_not_resolve_is_tried_again_and_the_softwire_stays(home: Home) -> None:
    home.told(S0)
    home.ends()
    assert not home.told("gone.aftr.example.net")
    assert not home.follower.look()
    assert not home.news()
    assert home.follower.counters.names_failed == 2
    assert home.said.count("gone.aftr.example.net does not resolve") == 1
    assert home.told(S0), "the old name again: there is nothing to change"
    assert not home.news()


def test_b02_an_address_that_is_still_to_come_is_waited_for(home: Home) -> None:
    home.source = None
    assert not home.told(S0)
    home.source = OURS
    assert home.follower.look()
    assert home.ends() == (OURS, AFTRS[S0])


def test_b02_another_prefix_moves_our_end_without_asking_for_the_name(home: Home) -> None:
    home.told(S0)
    home.ends()
    home.source = OURS_LATER
    assert home.told(S0)
    assert home.ends() == (OURS_LATER, AFTRS[S0])
    assert home.asked == [S0]


def test_b02_a_deprecated_address_is_used_until_there_is_another(home: Home) -> None:
    home.deprecated = True
    for _ in range(LONG_AGO):
        assert not home.told(S0), "the other one comes without a word of the client"
    assert home.ends() == (OURS, AFTRS[S0])
    home.source, home.deprecated = OURS_LATER, False
    assert home.follower.look()
    assert home.ends() == (OURS_LATER, AFTRS[S0])
    assert home.asked == [S0]
    assert home.follower.counters.names_failed == 0


def test_b02_of_several_softwires_the_newest_is_taken_and_the_others_are_closed(home: Home) -> None:
    home.told(S0)
    first = home.follower._made[0]
    home.told(S1)
    assert home.ends() == (OURS, AFTRS[S1])
    assert first.closed  # type: ignore[attr-defined]
    assert not home.news()


def test_b02_a_written_file_wakes_the_follower(home: Home) -> None:
    home.follower.start()
    draft = home.folder / "draft"
    draft.write_text(S0)
    os.replace(draft, home.folder / NAME_FILE)
    assert home.ends() == (OURS, AFTRS[S0])
