"""Keys with which the operator signs its questions to AFTRs: one for each pool, made from the installation's own.

So a restarted operator has the same ones without reading a Secret by the API.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dslite_contract.errors import DsliteError
from dslite_contract.signing import signature
from dslite_operator.names import Key, child, labels

Object = dict[str, Any]


class SignerError(DsliteError):
    """The file with the installation's key has none."""


class Signer:
    """`file` has the installation's key; where there is no such file nothing is signed.  Raises SignerError."""

    def __init__(self, file: Path) -> None:
        self._own = file.read_bytes().strip() if file.exists() else b""
        if file.exists() and not self._own:
            raise SignerError(
                f"{file}: the key is empty: put a key into the Secret, such as `openssl rand -hex 32` gives, and restart the operator"
            )
        self.made: set[str] = set()  # UIDs of pools whose Secret this process has seen to

    def key_of(self, pool: Object) -> bytes:
        """A pool's, in hex; empty when nothing is signed."""
        return signature(self._own, pool["metadata"]["uid"].encode()).encode() if self._own else b""

    def doubt(self, pool: Object) -> None:
        """An AFTR has not answered: its Secret may be gone, and is made again if so."""
        self.made.discard(pool["metadata"]["uid"])


def secret(key: Key, value: bytes) -> Object:
    """A pool's key, for its pods; in the namespace of the pool, and never read by the operator."""
    name = child(key.name, "aftr")
    metadata = {"name": name, "namespace": key.namespace, "labels": labels(key.name, "aftr")}
    return {
        "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": {"key": value.decode()},
    }  # fmt: skip
