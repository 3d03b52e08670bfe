"""TLS: with our authority and our certificate, and without."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aftr.store.errors import StoreUnreachableError, StoreUnsuitableError
from aftr.store.settings import Tls
from redis_servers import server
from store_records import SLOT, Open, claimed


def certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed one for 127.0.0.1, and its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=redis"
    extension = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *extension], check=True, capture_output=True)
    return certificate, key


async def test_certificates_are_checked_both_ways(open_store: Open, tmp_path: Path) -> None:
    ours, key = (str(path) for path in certificate(tmp_path))
    options = ("--port", "0", "--tls-cert-file", ours, "--tls-key-file", key, "--tls-ca-cert-file", ours)
    with server(*options, tcp=True) as redis:
        store = await open_store(redis.url, tls=Tls(ours, ours, key))
        await claimed(store, SLOT)
        with pytest.raises(StoreUnreachableError, match="certificate verify failed"):
            await open_store(redis.url)
        with pytest.raises(StoreUnreachableError, match="cannot be reached"):
            await open_store(redis.url, tls=Tls(ours))
        with pytest.raises(StoreUnreachableError, match="cannot be reached"):
            await open_store(redis.url.replace("rediss", "redis"))
        with pytest.raises(StoreUnsuitableError, match=r"TLS file .*/none.pem is not there"):
            await open_store(redis.url, tls=Tls(f"{tmp_path}/none.pem"))
