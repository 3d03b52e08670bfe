"""When a name may be handed out, and what the condition `Resolved` says."""

from __future__ import annotations

import pytest

from dns_servers import ZONE
from dslite_operator.distribution.dns.resolving import Said, Standing, joined, judged, resolved
from slot_names import S0, S1, address, wishes

RIGHT: dict[str, Said] = {S0: frozenset({address(1)}), S1: frozenset({address(2)})}


def test_o02_a_name_is_held_back_until_every_server_says_its_one_aaaa() -> None:
    for other in (frozenset(), frozenset({address(1), address(2)}), frozenset({address(2)}), "SERVFAIL"):
        standing = judged(wishes(), {"a": RIGHT, "b": {**RIGHT, S0: other}}, {})
        assert standing.resolved == {S1}
        assert resolved([S1], standing).status == "True"
        assert resolved([S0, S1], standing).status == "False"
    standing = judged(wishes(), {"a": RIGHT, "b": RIGHT}, {})
    assert standing.resolved == {S0, S1}


def test_o02_a_silent_server_holds_back_what_is_new_and_nothing_else() -> None:
    standing = judged(wishes(), {"a": RIGHT, "b": None}, {})
    assert not standing.resolved
    assert resolved([S0, S1], standing) == ("Resolved", "Unknown", "NoAnswer", "names were not looked at yet")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (frozenset(), f"{S0}: DNS server a says AAAA none, and should say 2001:db8:6400::1 alone"),
        (
            frozenset({address(1), address(9)}),
            f"{S0}: DNS server a says AAAA 2001:db8:6400::1, 2001:db8:6400::9, and should say 2001:db8:6400::1 alone",
        ),
        ("REFUSED", f"{S0}: DNS server a says REFUSED, and should say AAAA 2001:db8:6400::1"),
    ],
)
def test_what_is_wrong_is_said_with_the_server(said: Said, sentence: str) -> None:
    standing = judged(wishes(), {"a": {**RIGHT, S0: said}}, {})
    assert resolved([S0, S1], standing) == ("Resolved", "False", "Wrong", sentence)


def test_who_has_a_name_says_more_than_what_servers_say() -> None:
    standing = judged(wishes(), {"a": {**RIGHT, S0: frozenset()}}, {S0: "it belongs to another"})
    assert resolved([S0], standing).message == "it belongs to another"


def test_many_names_are_counted_and_the_cause_comes_first() -> None:
    names = [f"s{number}.east.{ZONE}" for number in range(1024)]
    standing = Standing(wrong={name: f"{name} is wrong" for name in names}, trouble=("a server is silent",))
    message = resolved(names, standing).message
    assert message.startswith(f"a server is silent; {names[0]} is wrong; ")
    assert message.endswith("; and 1,021 names more")


def test_names_that_resolve_though_nothing_can_be_written() -> None:
    standing = Standing(frozenset({S0}), trouble=("the key is not known",))
    assert resolved([S0], standing) == (
        "Resolved", "True", "Resolved", f"{S0} resolves at every server; the key is not known",
    )  # fmt: skip


def test_zones_are_judged_together() -> None:
    both = joined([Standing(frozenset({S0}), trouble=("one",)), Standing(wrong={S1: "two"})])
    assert both == Standing(frozenset({S0}), {S1: "two"}, ("one",))
