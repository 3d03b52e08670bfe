"""Real DNS servers for tests, on loopback with one zone, set up as docs/dns.md says; ended with the `with` block.

What a test reads from a server, or changes there as somebody else, goes by dig and nsupdate: nothing of ours is between.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from dslite_operator.settings import Place

PATIENCE_S = 20.0
ZONE = "aftr.example.net"
DOCUMENT = (Path(__file__).parents[1] / "docs/dns.md").read_text()
SECRET = "c2l4dGVlbiBieXRlcyBvZiBvdXJzIGFuZCBtb3JlLi4="  # of the key dslite, as the document has it
OTHER_SECRET = "c29tZWJvZHkgZWxzZSdzIGtleSwgYW5kIGl0IG1heSBhbGw="  # of a person, who may do everything
ZONE_FILE = f"""$ORIGIN {ZONE}.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns AAAA 2001:db8:53::1
"""


def free_port() -> int:
    """A port of loopback that nobody has, for TCP and for UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = int(tcp.getsockname()[1])
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def snippet(language: str) -> str:
    """What the document says to write for a server, its only block of that language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    return str(found)


class Server:
    """One process with the zone. `grant` is what the document says, changed for tests of refusals."""

    ready: str  # what it logs when it answers
    address = "127.0.0.1"

    def __init__(self, folder: Path, grant: str) -> None:
        self.folder, self.grant, self.place = folder, grant, Place(self.address, free_port())
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._said = threading.Condition()

    def command(self) -> Sequence[str | Path]:
        """What is started, after its files were written."""
        raise NotImplementedError

    def start(self) -> None:
        """Begins with what it had before; ready when this returns."""
        self._log.clear()
        self._process = subprocess.Popen(
            self.command(), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._ear = threading.Thread(target=self._hear, args=(self._process,), daemon=True)
        self._ear.start()
        self.wait_for(self.ready)

    def _hear(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                with self._said:
                    self._log.append(line)
                    self._said.notify_all()

    @property
    def log(self) -> str:
        """What it has said since its start."""
        return "".join(self._log)

    def wait_for(self, pattern: str) -> None:
        """Until it has logged this."""
        with self._said:
            assert self._said.wait_for(lambda: re.search(pattern, self.log, re.MULTILINE), PATIENCE_S), (
                f"no {pattern}: {self.log}"
            )

    def kill(self) -> None:
        """By SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._ear.join()
            self._process = None

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """All its threads, which the signal reaches one after another."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        while any(stat.read_text().rpartition(") ")[2][0] != "T" for stat in threads.glob("*/stat")):
            time.sleep(0.001)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    # ------------------------------------------------------------ others
    def dig(self, *words: str) -> list[str]:
        """Lines that dig prints, with the key of a person."""
        key = f"hmac-sha256:person:{OTHER_SECRET}"
        command = ["dig", f"@{self.place.address}", "-p", str(self.place.port), "-y", key, "+tcp", "+noall", "+answer"]
        made = subprocess.run([*command, *words], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
        return [re.sub(r"\s+", " ", line) for line in made.stdout.splitlines() if line[0] != ";"]

    def records(self) -> list[str]:
        """Everything below the top of the zone but the name server, as `s0.east AAAA 2001:db8::1`, sorted."""
        lines = [line.split(" ", 4) for line in self.dig(ZONE, "AXFR")]
        return sorted(
            f"{name.removesuffix(f'.{ZONE}.')} {kind} {data}"
            for name, _, _, kind, data in lines
            if name not in (f"{ZONE}.", f"ns.{ZONE}.")
        )

    def person(self, *lines: str) -> None:
        """A person changes the zone: lines of nsupdate, names without the zone's."""
        words = [
            f"server {self.place.address} {self.place.port}",
            f"zone {ZONE}",
            f"key hmac-sha256:person {OTHER_SECRET}",
        ]
        text = "\n".join([*words, *(f"update {line}" for line in lines), "send", ""])
        made = subprocess.run(
            ["nsupdate", "-v"], input=text, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert made.returncode == 0, made.stderr + made.stdout


class Bind(Server):
    """BIND's named."""

    ready = r"\brunning$"

    def command(self) -> Sequence[str | Path]:
        zone = self.folder / "zone"
        if not zone.exists():
            zone.write_text(ZONE_FILE)
        person = f'key person {{ algorithm hmac-sha256; secret "{OTHER_SECRET}"; }};'
        grant = self.grant.replace(f"/var/lib/bind/{ZONE}", str(zone))
        grant = grant.replace("grant dslite", "grant person zonesub ANY; grant dslite")
        grant = grant.replace("allow-transfer {", "allow-transfer { key person;")
        (self.folder / "named.conf").write_text(
            f"""options {{
                directory "{self.folder}"; pid-file none; session-keyfile none; recursion no; dnssec-validation no;
                listen-on port {self.place.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; notify no;
            }};
            controls {{ }};
            {person}
            {grant}"""
        )
        program = self.folder / "named"
        if not program.exists():
            shutil.copy("/usr/sbin/named", program)  # by its own path AppArmor would keep it from this folder
        return [program, "-g", "-n", "1", "-c", self.folder / "named.conf"]


class Knot(Server):
    """Knot DNS."""

    ready = r"server started"
    address = "::1"

    def command(self) -> Sequence[str | Path]:
        zone = self.folder / f"{ZONE}.zone"
        if not zone.exists():
            zone.write_text(ZONE_FILE)
        grant = self.grant.replace(
            "key:\n", f"key:\n  - id: person\n    algorithm: hmac-sha256\n    secret: {OTHER_SECRET}\n", 1
        )
        grant = grant.replace("acl:\n", "acl:\n  - id: person\n    key: person\n    action: [update, transfer]\n", 1)
        grant = grant.replace("    acl: [", f"    storage: {self.folder}\n    acl: [person, ")
        (self.folder / "knot.conf").write_text(
            f"""server:
    rundir: {self.folder}
    listen: {self.place.address}@{self.place.port}
    background-workers: 1
    udp-workers: 1
    tcp-workers: 1
database:
    storage: {self.folder}
    journal-db-max-size: 100M
log:
  - target: stdout
    any: info
{grant}"""
        )
        return ["knotd", "-c", self.folder / "knot.conf"]


SERVERS: dict[str, type[Server]] = {"bind": Bind, "knot": Knot}


@contextmanager
def dns_server(kind: str, changed: Mapping[str, str] = {}) -> Iterator[Server]:
    """A running server of a kind; `changed` are words of the document's snippet, and what stands in their place."""
    grant = snippet(kind)
    for word, other in changed.items():
        assert word in grant, f"the snippet of {kind} in docs/dns.md has no {word}"
        grant = grant.replace(word, other)
    folder = Path(mkdtemp(prefix=f"dslite-{kind}-"))
    server = SERVERS[kind](folder, grant)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)
