"""The operator as a process beside a real API server, and what it is given there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import yaml

from dslite_operator.settings import Settings
from kube_api import Api, free_ports

RELEASE = "0.1.0"
SETTINGS = {"release": RELEASE, "aftr": {"image": "registry.example.net/dslite/aftr:0.1.0"}}
INSTALLATIONS_KEY = "the installation's own"


def settings(**changed: object) -> Settings:
    return Settings.model_validate({**SETTINGS, **changed})


class Process:
    """One `dslite-operator run`; it has the installation's key, as the chart gives it one, unless it is too old to know of keys."""

    def __init__(
        self,
        api: Api,
        folder: Path,
        content: Mapping[str, object],
        *options: str,
        kubeconfig: Path | None = None,
        knows_keys: bool = True,
    ) -> None:
        (port,) = free_ports(1)
        self._url = f"http://127.0.0.1:{port}"
        file, key, self.log = (folder / name for name in ("settings.yaml", "installations.key", "operator.log"))
        key.write_text(INSTALLATIONS_KEY)
        file.write_text(yaml.safe_dump({**({"key": str(key)} if knows_keys else {}), **content}))
        program = Path(sys.executable).parent / "dslite-operator"
        command = [
            str(program),
            "run",
            "--settings",
            str(file),
            "--port",
            str(port),
            "--identity",
            folder.name,
            *options,
        ]
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig or api.kubeconfig)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def probe(self, page: str) -> int:
        """The status with which it answers the kubelet: healthz, readyz; 0 while it does not yet."""
        try:
            with urlopen(f"{self._url}/{page}", timeout=5) as answer:
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code
        except URLError:
            return 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def operator(
    api: Api,
    folder: Path,
    content: Mapping[str, object] = SETTINGS,
    *options: str,
    kubeconfig: Path | None = None,
    knows_keys: bool = True,
) -> Iterator[Process]:
    process = Process(api, folder, content, *options, kubeconfig=kubeconfig, knows_keys=knows_keys)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.end()
