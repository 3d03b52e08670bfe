"""The TSIG key of a zone (RFC 8945), as its Secret is mounted: the files `name`, `secret` (base64) and, if need be, `algorithm`.

It is read for each use, so a changed Secret holds at once.  No sentence and no log ever has the secret.
"""

from __future__ import annotations

import base64
from pathlib import Path

from dns import name, tsig
from dns.exception import DNSException

from dslite_operator.distribution.dns.errors import KeyFileError
from dslite_operator.distribution.secret import value

ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")


def read_key(folder: Path) -> tsig.Key:
    """The key in a Secret's folder.  Raises KeyFileError."""
    algorithm = _read(folder, "algorithm") if (folder / "algorithm").exists() else ALGORITHMS[0]
    if algorithm not in ALGORITHMS:
        raise KeyFileError(f"Secret {folder.name}: algorithm {algorithm} is not allowed: {', '.join(ALGORITHMS)}")
    try:
        return tsig.Key(name.from_text(_read(folder, "name")), _secret(folder), algorithm)
    except DNSException as error:
        raise KeyFileError(f"Secret {folder.name}: its name is no name of a key: {error}") from error


def _secret(folder: Path) -> bytes:
    try:
        return base64.b64decode(_read(folder, "secret"), validate=True)
    except ValueError:  # also what is not ASCII
        raise KeyFileError(
            f"Secret {folder.name}: its secret is not base64, as tsig-keygen and keymgr print it"
        ) from None


def _read(folder: Path, what: str) -> str:
    return value(folder / what, KeyFileError, ": make it with name, secret and algorithm")
