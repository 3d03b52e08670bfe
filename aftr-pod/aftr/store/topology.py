"""Which Redis holds a key: the one there is, the one that Sentinel names, or the one that the cluster's map names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.crc import key_slot

from aftr.store.errors import StoreError, StoreUnreachableError
from aftr.store.line import Access, Line
from aftr.store.settings import Address, Kind, Node

Range = tuple[int, int, Node]  # first and last hash slot, their primary


class Topology:
    """Learned when it is first needed, and anew after `forget`."""

    def __init__(self, address: Address, access: Access, sentinel_access: Access) -> None:
        self._address, self._access = address, access
        self._ask_access = sentinel_access if address.kind is Kind.SENTINEL else access
        self._seeds = address.nodes
        self._ranges: list[Range] = []

    @property
    def one_slot_at_a_time(self) -> bool:
        """Commands over keys of several hash slots are refused."""
        return self._address.kind is Kind.CLUSTER

    async def node_of(self, key: str) -> Node:
        """The primary that holds `key`; raises StoreUnreachableError while there is none."""
        if not self._ranges:
            self._ranges = await self._learn()
        number = key_slot(key.encode())
        for first, last, node in self._ranges:
            if first <= number <= last:
                return node
        self.forget()
        raise StoreUnreachableError(
            f"no node of the cluster serves hash slot {number} of key {key}: look at CLUSTER INFO"
        )

    async def nodes(self) -> list[Node]:
        """All primaries."""
        if not self._ranges:
            self._ranges = await self._learn()
        return list(dict.fromkeys(node for _, _, node in self._ranges))

    def forget(self) -> None:
        """Something was not where it should be: look again next time."""
        self._ranges = []

    async def _learn(self) -> list[Range]:
        if self._address.kind is Kind.SENTINEL:
            return [(0, 16383, await self._primary())]
        if self._address.kind is Kind.CLUSTER:
            return await self._map()
        return [(0, 16383, self._seeds[0])]

    async def _primary(self) -> Node:
        async for _, found in self._answers("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.name):
            if found:
                return Node(found[0].decode(), int(found[1]))
        raise StoreUnreachableError(f"no Sentinel of {self._shown()} knows a primary {self._address.name!r}")

    async def _map(self) -> list[Range]:
        async for asked, rows in self._answers("CLUSTER", "SLOTS"):
            ranges = [(first, last, _node(primary, asked)) for first, last, primary, *_ in rows]
            if ranges:
                others = {_node(one, asked): None for _, _, *nodes in rows for one in nodes}
                self._seeds = tuple(dict.fromkeys((asked, *others, *self._address.nodes)))
                return ranges
        raise StoreUnreachableError(f"no node of {self._shown()} knows the map of the cluster")

    async def _answers(self, *command: str) -> AsyncIterator[tuple[Node, Any]]:
        """The usable answers of all seeds, one after the other; raises the last error if there is none."""
        trouble: StoreError | None = None
        answered = False
        for seed in self._seeds:
            line = Line(seed, self._ask_access)
            try:
                answer = (await line.ask(command))[0]
            except StoreError as error:
                trouble = error
                continue
            finally:
                await line.close()
            if isinstance(answer, list):
                answered = True
                self._seeds = (seed, *(other for other in self._seeds if other != seed))
                yield seed, answer
        if trouble and not answered:
            raise trouble

    def _shown(self) -> str:
        return ", ".join(str(node) for node in self._address.nodes)


def _node(row: Sequence[Any], asked: Node) -> Node:
    host = row[0].decode() if row[0] else asked.host  # a node that does not know its own address
    return Node(host, int(row[1]))
