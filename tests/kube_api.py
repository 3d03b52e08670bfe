"""A real etcd and kube-apiserver for tests of what an API server decides: no nodes, no controllers, gone with the `with` block.

The binaries are those that `make kubernetes` keeps in the cache.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from urllib.error import URLError
from urllib.request import Request, urlopen

import yaml

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dslite/cluster"
TOKEN = "test-token"
OPERATOR_TOKEN = "operator-token"
OPERATOR = (
    "system:serviceaccount:dslite:dslite-operator"  # as the chart binds it, installed as `dslite` in namespace dslite
)
PATIENCE_S = 60.0


def binary(name: str) -> Path:
    """The newest build of a program."""
    found = sorted(CACHE.glob(f"*/{name}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f"{name} is not in {CACHE}: run `make kubernetes` once")
    return found[-1]


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody has."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@dataclass(frozen=True)
class Api:
    """A server that answers, and the folder with its files."""

    url: str
    folder: Path

    @property
    def kubeconfig(self) -> Path:
        """For clients, as an administrator."""
        return self.folder / "kubeconfig"

    def kubectl(self, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """`kubectl`, with `given` on its standard input."""
        command = [
            str(binary("kubectl")),
            "--kubeconfig",
            str(self.kubeconfig),
            "--cache-dir",
            str(self.folder / "cache"),
            *words,
        ]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)


def write_kubeconfig(folder: Path, url: str, token: str = TOKEN, name: str = "kubeconfig") -> Path:
    """A kubeconfig with a token; the server's certificate is its own authority."""
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(folder / "certs/apiserver.crt")}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }  # fmt: skip
    path = folder / name
    path.write_text(yaml.safe_dump(config))
    return path


def wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until /readyz answers."""
    context, deadline = ssl._create_unverified_context(), time.monotonic() + PATIENCE_S
    request = Request(f"{url}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(request, timeout=2, context=context):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise AssertionError("kube-apiserver is not ready:\n" + log.read_text()[-4000:])


@contextmanager
def api_server() -> Iterator[Api]:
    """etcd and kube-apiserver on loopback."""
    folder = Path(mkdtemp(prefix="kube-api-"))
    client, peer, secure = free_ports(3)
    url, etcd = f"https://127.0.0.1:{secure}", f"http://127.0.0.1:{client}"
    key = folder / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    users = (f'{TOKEN},admin,admin,"system:masters"', f'{OPERATOR_TOKEN},{OPERATOR},operator,"system:authenticated"')
    (folder / "tokens").write_text("\n".join(users) + "\n")
    commands = (
        (
            "etcd", "--unsafe-no-fsync", "--data-dir", str(folder / "etcd"), "--listen-client-urls", etcd,
            "--advertise-client-urls", etcd, "--listen-peer-urls", f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster", f"default=http://127.0.0.1:{peer}",
        ),
        (
            "kube-apiserver", "--etcd-servers", etcd, "--secure-port", str(secure), "--bind-address", "127.0.0.1",
            "--cert-dir", str(folder / "certs"), "--token-auth-file", str(folder / "tokens"), "--authorization-mode", "RBAC",
            "--service-account-issuer", "https://kubernetes", "--service-account-key-file", str(key),
            "--service-account-signing-key-file", str(key), "--service-cluster-ip-range", "10.99.0.0/16",
            "--disable-admission-plugins", "ServiceAccount", "--watch-cache=true",
        ),
    )  # fmt: skip
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for program, *options in commands:
            with (folder / f"{program}.log").open("wb") as log:
                command = ["setpriv", "--pdeathsig", "KILL", str(binary(program)), *options]
                processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
        wait_ready(url, processes[1], folder / "kube-apiserver.log")
        write_kubeconfig(folder, url)
        yield Api(url, folder)
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)
