"""Compile every kernel that Python calls, once per machine (`aftr kernels`, image build)."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import ip_address

from aftr.io.queue_table import QueueTable, Umem, table_size
from aftr.lowlevel.memory import Arena
from aftr.ops.copies import apply, close, open_restored, snapshot
from aftr.ops.engine import Engine
from aftr.ops.invariants import check_pod
from aftr.state.frames import frames_size
from dslite_contract.load import load_config

PAGE_SHIFT = 12
PAGE = 1 << PAGE_SHIFT

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


def warm(say: Callable[[str], None]) -> float:
    """Compile, or load from the cache, everything; seconds that it took."""
    begun = time.monotonic()
    engine = Engine(load_config(_POOL))

    def tables() -> None:
        engine.preload([_BINDING])
        engine.bindings()
        check_pod(engine.pod)

    def copies() -> None:
        records = list(snapshot(engine.pod, 0))
        close(engine.pod, 0)
        for piece in records:
            apply(engine.pod, 0, piece, 0)
        open_restored(engine.pod, 0, 0, 0)

    def packet() -> None:
        engine.process([("access", bytes(64))], 0)

    def devices() -> None:
        arena = Arena(PAGE + frames_size(1) + table_size(1, 1), huge_pages=False)
        QueueTable(Umem(arena.memory, 0, PAGE, PAGE_SHIFT), PAGE + frames_size(1), [PAGE], reserve=0).add(0, 0)
        arena.close()

    for name, call in (("packet path", packet), ("tables", tables), ("copies", copies), ("devices", devices)):
        started = time.monotonic()
        say(f"kernels: {name} …")
        call()
        say(f"kernels: {name}: {time.monotonic() - started:.1f} s")
    engine.close()
    return time.monotonic() - begun
