"""Every way in which a server refuses us: a sentence with its word and what to do, and a zone as it was."""

from __future__ import annotations

import contextlib
import re
import time
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from dns import flags, message, update
from hypothesis import given
from hypothesis import strategies as st

from dns_servers import OTHER_SECRET, SECRET, ZONE, Bind, Server, dns_server
from dslite_operator.distribution.dns.errors import KeyFileError, RefusedError, SilentError
from dslite_operator.distribution.dns.key import read_key
from dslite_operator.distribution.dns.plan import Change
from dslite_operator.distribution.dns.records import Mark
from dslite_operator.distribution.dns.resolving import resolved
from dslite_operator.distribution.dns.server import Primary
from dslite_operator.distribution.dns.words import Request, checked
from slot_names import NOW, S0, S1, UNUSED, lines, names, secret_in, wishes

UPDATE, TRANSFER = "let the key update AAAA and TXT of names in the zone", "let the key transfer the zone"
LITTLE = "BADKEY: it does not know the key, or grants it too little"
NO_UPDATE = {"bind": f"the update of {ZONE}: REFUSED: {UPDATE}", "knot": f"the update of {ZONE}: {LITTLE}: {UPDATE}"}
NO_TRANSFER = {
    "bind": f"the transfer of {ZONE}: REFUSED: {TRANSFER}",
    "knot": f"the transfer of {ZONE}: {LITTLE}: {TRANSFER}",
}
BAD_KEY = f"the transfer of {ZONE}: {LITTLE}: {TRANSFER}"
BAD_SECRET = f"the transfer of {ZONE}: BADSIG: the key has another secret or algorithm there: correct the Secret"

# What docs/dns.md has and what stands in its place, for BIND, for knot, and what each says then.
Changed = dict[str, str]
CASES: dict[str, tuple[Changed, Changed, dict[str, str]]] = {
    "no AAAA": ({"AAAA TXT;": "TXT;"}, {"[AAAA, TXT]": "[TXT]"}, NO_UPDATE),
    "no TXT": ({"AAAA TXT;": "AAAA;"}, {"[AAAA, TXT]": "[AAAA]"}, NO_UPDATE),
    "other names": ({f"subdomain {ZONE}.": f"subdomain west.{ZONE}."}, {"owner: zone": "owner: key"}, NO_UPDATE),
    "no transfer": ({"key dslite; }": "}"}, {"dslite-names, dslite-transfer": "dslite-names"}, NO_TRANSFER),
    "another key": (
        {'key "dslite"': 'key "other"', "grant dslite": "grant other", "key dslite": "key other"},
        {"key: dslite": "key: other", "  - id: dslite\n": "  - id: other\n"},
        {"bind": BAD_KEY, "knot": BAD_KEY},
    ),
    "another secret": ({SECRET: OTHER_SECRET}, {SECRET: OTHER_SECRET}, {"bind": BAD_SECRET, "knot": BAD_SECRET}),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_server_that_grants_less(kind: str, case: str, tmp_path: Path) -> None:
    bind, knot, words = CASES[case]
    with dns_server(kind, bind if kind == "bind" else knot) as server:
        verdict = resolved([S0, S1], await names(server, tmp_path).keep(wishes(), UNUSED, NOW))
        assert verdict.status == "False"
        assert verdict.message.startswith(f"DNS server {server.place} refuses {words[kind]}")
        assert f"{S0}: DNS server {server.place} says AAAA none" in verdict.message
        assert server.records() == []


async def test_clocks_that_differ(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() - 3600)
    standing = await names(server, tmp_path).keep(wishes(), UNUSED, NOW)
    sentence = "BADTIME: its clock and ours are more than 300 s apart: look at NTP on both"
    assert standing.trouble == (f"DNS server {server.place} refuses the transfer of {ZONE}: {sentence}",)


async def test_a_zone_that_the_server_does_not_have(server: Server, tmp_path: Path) -> None:
    verdict = resolved([S0], await names(server, tmp_path, zone="example.net").keep(wishes(), UNUSED, NOW))
    assert verdict.status == "Unknown"
    assert verdict.message == (
        f"DNS server {server.place} refuses the transfer of example.net: "
        "NOTAUTH: it is not the primary of this zone: correct dns.zones[].server or .zone; "
        f"DNS server {server.place} refuses the SOA of example.net: "
        "REFUSED: it does not have this zone: correct dns.zones, or see why it has not loaded it"
    )


async def test_a_name_outside_of_the_zone(server: Server, tmp_path: Path) -> None:
    """BIND looks at the name first, knot at what the key may do."""
    primary = Primary(ZONE, server.place, read_key(secret_in(tmp_path) / "tsig"))
    change = Change("s0.east.example.org", None, IPv6Address("2001:db8::1"), Mark("metro", "edge/east"))
    word = "NOTZONE: a name is not in the zone that the server has" if isinstance(server, Bind) else LITTLE
    with pytest.raises(RefusedError, match=f"refuses the update of {ZONE}: {word}"):
        await primary.change([change])


async def test_a_server_that_cannot_write(tmp_path: Path) -> None:
    with dns_server("bind") as server:
        (server.folder / "zone.jnl").mkdir()
        standing = await names(server, tmp_path).keep(wishes(), UNUSED, NOW)
        assert standing.trouble == (
            f"DNS server {server.place} refuses the update of {ZONE}: SERVFAIL: it cannot do it: see its log",
        )
        assert "journal open failed" in server.log
        (server.folder / "zone.jnl").rmdir()
        assert (await names(server, tmp_path).keep(wishes(), UNUSED, NOW)).resolved == {S0, S1}


def test_an_answer_that_nobody_signed_is_not_believed(tmp_path: Path) -> None:
    asked = update.UpdateMessage(f"{ZONE}.", keyring=read_key(secret_in(tmp_path) / "tsig"))
    answer = message.make_response(update.UpdateMessage(f"{ZONE}.", id=asked.id))
    answer.flags |= flags.QR
    with pytest.raises(SilentError, match="its answer is not signed"):
        checked(Request("192.0.2.53:53", "the update", ""), answer)


# ---------------------------------------------------------------- keys
async def test_a_changed_secret_holds_at_once(server: Server, tmp_path: Path) -> None:
    dns = names(server, secret_in(tmp_path, OTHER_SECRET))
    assert "BADSIG" in (await dns.keep(wishes(), UNUSED, NOW)).trouble[0]
    secret_in(tmp_path)
    assert (await dns.keep(wishes(), UNUSED, NOW)).trouble == ()
    assert server.records() == lines(wishes())


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("secret", None, r"Secret tsig: secret cannot be read \(FileNotFoundError\): make it with name, secret and"),
        ("name", " \n", "Secret tsig: name is empty"),
        ("name", "a..b", "Secret tsig: its name is no name of a key"),
        ("secret", "not base64!", "Secret tsig: its secret is not base64"),
        ("secret", "c2l4dGVlbiBieXRlcw\u00a0==", "Secret tsig: its secret is not base64"),
        ("algorithm", "hmac-md5", "algorithm hmac-md5 is not allowed: hmac-sha256, hmac-sha384, hmac-sha512"),
    ],
)
def test_a_secret_that_is_no_key(tmp_path: Path, file: str, text: str | None, said: str) -> None:
    folder = secret_in(tmp_path) / "tsig"
    (folder / file).unlink(missing_ok=True)
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(KeyFileError, match=said):
        read_key(folder)


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_any_text_is_a_key_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str, secret: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "name").write_text(name, encoding="utf-8")
    (folder / "secret").write_text(secret, encoding="utf-8")
    with contextlib.suppress(KeyFileError):
        read_key(folder)


async def test_no_sentence_has_the_secret(server: Server, tmp_path: Path) -> None:
    key = read_key(secret_in(tmp_path) / "tsig")
    assert not re.search(SECRET[:12], repr(Primary(ZONE, server.place, key)))
    server.kill()
    assert SECRET[:12] not in str(await names(server, tmp_path).keep(wishes(), UNUSED, NOW))
