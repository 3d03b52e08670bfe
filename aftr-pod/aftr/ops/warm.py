"""Compile every kernel that Python calls, once per machine (`aftr kernels`, image build): two entries and their small helpers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from dslite_contract.load import load_config

from aftr.ops.engine import Engine
from aftr.ops.loop import run_worker
from aftr.ops.tables import check_pod
from aftr.state.layout import worker_at

_POOL = """
apiVersion: dslite.dev/v1alpha1
kind: AftrPool
metadata: {name: warm}
spec:
  slots: 1
  softwire: {prefix: 2001:db8:64::/64, domain: example.net}
  nat: {pools: [{name: default, prefixes: [192.0.2.0/30]}]}
---
apiVersion: dslite.dev/v1alpha1
kind: B4Group
metadata: {name: warm}
spec: {poolRef: {name: warm}, prefixes: [2001:db8:1000::/36]}
"""
_BINDING = {
    "softwire": str(ip_address("2001:db8:1000::1")),
    "protocol": "tcp",
    "internalAddress": "192.168.1.2",
    "internalPort": 1,
    "externalAddress": "192.0.2.1",
    "externalPort": 1024,
}


def steps() -> Iterator[tuple[str, Callable[[], object]]]:
    """What to call, with a name for each."""
    engine = Engine(load_config(_POOL))
    worker = engine.pod.workers[0]

    def serve_once() -> None:
        worker_at(engine.pod.memory, worker).stop = 1
        run_worker(engine.pod.memory, worker)

    def look() -> None:
        engine.preload([_BINDING])
        engine.bindings()
        check_pod(engine.pod)

    yield "the packet path", lambda: engine.process([("access", bytes(64))], 0)
    yield "the worker loop with its devices", serve_once
    yield "tables", look
    yield "done", engine.close


def warm(say: Callable[[str], None]) -> float:
    """Compile, or load from the cache, everything; seconds that it took."""
    begun = time.monotonic()
    for name, call in steps():
        started = time.monotonic()
        if name != "done":
            say(f"kernels: {name} …")
        call()
        if name != "done":
            say(f"kernels: {name}: {time.monotonic() - started:.1f} s")
    return time.monotonic() - begun
