"""Secrets that are mounted as files: DIR/bgp/NAME/password, DIR/operator/key, and DIR/store with url, username, password,
sentinel-password, ca.crt, tls.crt, tls.key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aftr.store.settings import Tls
from dslite_contract.errors import DsliteError

TLS_FILES = ("ca.crt", "tls.crt", "tls.key")
NO_TLS = Tls()


class SecretError(DsliteError):
    """A Secret lacks a file, or cannot be read."""


@dataclass(frozen=True)
class StoreLogin:
    """Where the pool's Redis is, and how to get in."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    tls: Tls = NO_TLS
    sentinel_password: str = field(default="", repr=False)


def read_login(folder: Path) -> StoreLogin:
    """The store's Secret; raises SecretError without `url`."""
    ca, certificate, key = (str(folder / name) if (folder / name).exists() else "" for name in TLS_FILES)
    return StoreLogin(
        read_value(folder / "url"),
        read_value(folder / "username", ""),
        read_value(folder / "password", ""),
        Tls(ca, certificate, key),
        read_value(folder / "sentinel-password", ""),
    )


def read_passwords(folder: Path) -> dict[str, str]:
    """Passwords of BGP sessions by the name of their Secret; {} where there is no such folder."""
    if not folder.is_dir():
        return {}
    return {place.name: read_value(place / "password") for place in sorted(folder.iterdir())}


def read_key(folder: Path) -> bytes | None:
    """The key with which the operator signs its questions: empty while its Secret is missing, None where none is mounted."""
    return read_value(folder / "key", "").encode() if folder.is_dir() else None


def read_value(path: Path, default: str | None = None) -> str:
    """One value, without the line end that editors add."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except FileNotFoundError:
        if default is not None:
            return default
        raise SecretError(f"Secret {path.parent.name} has no key {path.name}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"{path} cannot be read: {error}") from error
