"""The prototype's own kernels, imported from its folder and measured in a process of their own: `python -m bench.prototype DIR`.

Its package is named `aftr`, as the product's: hence the other process.  It answers one JSON line for each JSON line on stdin.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import time
import types
from typing import Any

import numpy as np

FRAMES, CHUNK, FRAME_SIZE, DISTANCE = 16384, 2048, 128, 16
POOL = 0x64400000
KINDS = ("floor", "product", "twin")


class Prototype:
    """The parent's side."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder.resolve()
        command = [sys.executable, "-m", "bench.prototype", str(self.folder)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_CPU")}
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._environment = environment

    def ask(self, **question: Any) -> Any:
        """Send a question, wait for its answer."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        print(json.dumps(question), file=self._child.stdin, flush=True)
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the prototype in {self.folder} ended with {self._child.wait()} at {question}")
        return json.loads(line)

    def create(self, flows: int) -> dict[str, float]:
        """Million new flows per second by block size, of bench_create.py with batches of 32."""
        code = "import bench.prototype as p, sys; p.as_package(sys.argv[1]); p.run_script(sys.argv[1], 'bench_create', sys.argv[2])"
        command = [sys.executable, "-c", code, str(self.folder), str(flows)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=self._environment)
        found = re.findall(r"block\s+(\d+) B=32: created \d+/\d+\s+([0-9.]+) M flows/s", done.stdout)
        return {block: float(rate) for block, rate in found}

    def close(self) -> None:
        """End the process."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(10)


# ---------------------------------------------------------------- the other process
def as_package(folder: str) -> None:
    """Make `import aftr` mean the prototype's folder."""
    package = types.ModuleType("aftr")
    package.__path__ = [f"{folder}/aftr"]
    sys.modules["aftr"] = package
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True


def run_script(folder: str, name: str, *arguments: str) -> Any:
    """Import one of its scripts, which run as they are imported; the module."""
    sys.argv = [f"{folder}/{name}.py", *arguments]
    return importlib.import_module(name)


class NoFlows(str):
    """Its first argument is a list of sizes: none, so that importing the script runs nothing."""

    __slots__ = ()

    def split(self, *_: Any, **__: Any) -> list[str]:
        return []


class Bench:
    """Its tables with so many flows, 16 to a subscriber, and its kernels."""

    def __init__(self, folder: str) -> None:
        as_package(folder)
        self.pipe = run_script(folder, "bench_pipe3", NoFlows("0"))
        self.engine, self.memory = importlib.import_module("aftr.engine"), importlib.import_module("aftr.mem")

    def setup(self, flows: int) -> None:
        """Fill the tables as its bench_pipe3.py does."""
        engine, alloc = self.engine, self.memory.alloc
        self.memory._keep.clear()
        subscribers = (flows + 15) // 16
        words = 1 << max(math.ceil(math.log2(flows * 2)), 4)
        self.addresses = (subscribers + 4031) // 4032
        self.flows, self.words = flows, words
        self.umem, self.index = alloc(FRAMES * CHUNK), alloc(words * 8, np.uint64)
        self.sessions, self.subscribers = alloc(flows * 64), alloc(subscribers * 64)
        self.reverse = alloc(self.addresses * 131072 * 4, np.uint32)
        self.mask = np.uint64(words - 1)
        tables = (self.index, self.mask, self.sessions)
        engine.populate(flows, np.uint64(16), *tables, self.subscribers, self.reverse, np.uint64(POOL))
        engine.index_all(flows, engine.hash_mum, *tables)
        self.rx, self.tx, self.lines = (np.zeros(2 * FRAMES, np.uint64) for _ in range(3))
        self.scratch = [np.zeros(512, np.uint64) for _ in range(5)]
        words_of_headers = [0x0202020202020202, 0x03030303, 0x0404040404040404, 0x05050505, 0xB80D0120, 1 << 56]
        self.headers = np.array(words_of_headers, np.uint64)
        self.random = np.random.default_rng(1)
        self.zipf = np.cumsum(1.0 / np.arange(1, flows + 1))
        self.ranks = self.random.permutation(flows)

    def pick(self, law: str) -> Any:
        """Flows of a round."""
        if law == "uniform":
            return self.random.integers(0, self.flows, FRAMES, dtype=np.int64)
        return self.ranks[np.searchsorted(self.zipf, self.random.random(FRAMES) * self.zipf[-1])]

    def round(self, kind: str, direction: str, law: str) -> int:
        """Nanoseconds of one round of `kind` (floor, product, twin)."""
        engine, flows, out = self.engine, self.pick(law), direction == "out"
        arguments = (self.umem, self.rx, FRAMES)
        if out:
            engine.gen_up(*arguments, flows, np.uint64(16), np.uint64(FRAME_SIZE), np.uint64(256), CHUNK)
        else:
            engine.gen_dn(*arguments, flows, self.sessions, np.uint64(FRAME_SIZE), np.uint64(256), CHUNK)
        call = self.floor(out, flows) if kind == "floor" else self.kernel(out, kind == "product")
        begun = time.thread_time_ns()
        sent = call()
        taken = time.thread_time_ns() - begun
        if kind != "floor" and (sent != FRAMES or engine.check(self.umem, self.tx, FRAMES, not out) != FRAMES):
            raise RuntimeError(f"prototype, {kind} {direction}: {sent} of {FRAMES} frames, or wrong checksums")
        return taken

    def floor(self, out: bool, flows: Any) -> Any:
        """Its memory floor; index lines are chosen by a hash of the flow, so that a frequent flow's is as warm as it would be."""
        table = self.index if out else self.reverse
        lines = table.nbytes // 64
        index = (
            (flows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20))
            % np.uint64(lines)
            * np.uint64(64)
        )
        session = flows.astype(np.uint64) * np.uint64(64)
        subscriber = flows.astype(np.uint64) // np.uint64(16) * np.uint64(64)
        second = np.uint64(82) if out else np.uint64(2**64 - 26)
        arguments = (
            self.umem,
            self.rx,
            FRAMES,
            second,
            table,
            index,
            self.sessions,
            session,
            self.subscribers,
            subscriber,
            32,
        )
        return lambda: self.engine.floor_touch(*arguments)

    def kernel(self, out: bool, pipelined: bool) -> Any:
        """Its pipeline, or its one-packet loop."""
        now, pool, pipe, engine = np.uint64(7), (np.uint64(POOL), np.uint64(self.addresses)), self.pipe, self.engine
        if out:
            arguments = (
                self.umem,
                self.rx,
                FRAMES,
                self.index,
                self.mask,
                self.sessions,
                self.subscribers,
                now,
                self.headers,
            )
            if pipelined:
                return lambda: pipe.up_pipe(*arguments, self.tx, DISTANCE, *self.scratch)
            return lambda: engine.up_naive(*arguments, self.tx)
        inward = (
            self.umem,
            self.rx,
            FRAMES,
            self.reverse,
            *pool,
            self.sessions,
            self.subscribers,
            now,
            self.headers,
        )
        if pipelined:
            return lambda: pipe.dn_pipe(*inward, self.tx, DISTANCE, self.scratch[0])
        return lambda: engine.dn_naive(*inward, self.tx)


def serve(folder: str) -> None:
    """Answer until stdin ends."""
    bench = Bench(folder)
    for line in sys.stdin:
        question = json.loads(line)
        if "setup" in question:
            bench.setup(question["setup"])
            answer = 0
        else:
            answer = bench.round(**question)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
