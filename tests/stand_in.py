"""A status port that answers as an AFTR's does, for tests of the operator where there is no node: it is the operator that is tried."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cluster_objects import said
from dslite_operator.names import STATUS_PORT, labels
from kube_api import Api


class StandIn:
    """One pod: what it says, and how many mappings it says another configuration would end."""

    def __init__(self, api: Api, name: str, address: str, slots: dict[int, int]) -> None:
        self.api, self.name, self.slots, self.busy, self.lost = api, name, slots, 0.1, 0
        self.checked: list[str] = []
        self.softwires: list[dict[str, Any]] = []
        self.refuses = False  # as though the operator's key were not ours
        self.meanwhile: Callable[[], object] = lambda: None  # what happens while it counts
        me = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, found: Any, status: int = 200) -> None:
                body = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                listed = self.path == "/v1/softwires"
                self.answer(me.softwires if listed else said(me.slots, me.config_hash(), me.busy))

            def do_POST(self) -> None:
                me.checked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                me.meanwhile()
                self.answer({"lost": me.lost}, 403 if me.refuses else 200)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer((address, STATUS_PORT), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.make(address)

    def make(self, address: str) -> None:
        pod = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.name, "namespace": "edge", "labels": labels("east", "aftr")},
            "spec": {"containers": [{"name": "aftr", "image": "aftr"}]},
        }  # fmt: skip
        made = self.api.kubectl("apply", "-f", "-", given=json.dumps(pod))
        assert made.returncode == 0, made.stderr
        conditions = [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]
        status = {
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
        }
        words = (
            "patch",
            "pod",
            self.name,
            "-n",
            "edge",
            "--subresource=status",
            "--type=merge",
            "-p",
            json.dumps(status),
        )
        assert self.api.kubectl(*words).returncode == 0

    def annotations(self) -> dict[str, str]:
        found = self.api.kubectl("get", "pod", self.name, "-n", "edge", "-o", "json")
        annotations: dict[str, str] = json.loads(found.stdout)["metadata"].get("annotations", {})
        return annotations

    def config_hash(self) -> str:
        """As a pod does: what it was told of is what it runs."""
        return self.annotations().get("dslite.dev/config-hash", "")

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.api.kubectl("delete", "pod", self.name, "-n", "edge", "--force", "--grace-period=0")


def stood_in(api: Api, *slots: dict[int, int]) -> list[StandIn]:
    """Pods of the pool east, each with an address of its own on loopback."""
    return [StandIn(api, f"aftr-{number}", f"127.0.0.{number + 10}", mine) for number, mine in enumerate(slots)]


@contextmanager
def stand_ins(api: Api, *slots: dict[int, int]) -> Iterator[list[StandIn]]:
    """The same, for the time of the block."""
    found = stood_in(api, *slots)
    try:
        yield found
    finally:
        for one in found:
            one.end()
