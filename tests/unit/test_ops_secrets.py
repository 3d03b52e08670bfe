"""Logins from mounted Secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from aftr.ops.secrets import SecretError, read_key, read_login, read_passwords
from aftr.store.settings import Tls


def write(folder: Path, **values: str) -> Path:
    folder.mkdir(parents=True)
    for name, value in values.items():
        (folder / name.replace("_", ".")).write_text(value)
    return folder


def test_login_of_a_store(tmp_path: Path) -> None:
    place = write(tmp_path / "store", url="rediss://redis:6379\n", username="aftr", password="s3cret", ca_crt="CA")
    login = read_login(place)
    assert (login.url, login.username, login.password) == ("rediss://redis:6379", "aftr", "s3cret")
    assert login.tls == Tls(ca=str(place / "ca.crt"))
    assert "s3cret" not in repr(login)
    assert login.sentinel_password == ""


def test_the_password_of_sentinels(tmp_path: Path) -> None:
    place = write(tmp_path / "store", url="redis+sentinel://redis/pool", password="one")
    (place / "sentinel-password").write_text("another\n")
    login = read_login(place)
    assert (login.password, login.sentinel_password) == ("one", "another")
    assert "another" not in repr(login)


def test_a_url_alone_is_enough_and_none_is_said(tmp_path: Path) -> None:
    assert read_login(write(tmp_path / "one", url="redis://redis")).password == ""
    with pytest.raises(SecretError, match="Secret two has no key url"):
        read_login(write(tmp_path / "two", password="x"))


def test_passwords_of_sessions(tmp_path: Path) -> None:
    write(tmp_path / "bgp/tor", password="open sesame\n")
    assert read_passwords(tmp_path / "bgp") == {"tor": "open sesame"}
    assert read_passwords(tmp_path / "none") == {}
    write(tmp_path / "bgp/empty")
    with pytest.raises(SecretError, match="Secret empty has no key password"):
        read_passwords(tmp_path / "bgp")


def test_the_operators_key(tmp_path: Path) -> None:
    """An optional Secret that is missing is an empty folder."""
    assert read_key(tmp_path / "operator") is None
    place = write(tmp_path / "operator")
    assert read_key(place) == b""
    (place / "key").write_text("the pool's\n")
    assert read_key(place) == b"the pool's"
    (place / "key").write_bytes(b"\xff")
    with pytest.raises(SecretError, match="key cannot be read"):
        read_key(place)
