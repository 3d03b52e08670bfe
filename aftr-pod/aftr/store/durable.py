"""What follows a write on its connection until it counts as stored: ROLE and WAIT, WAITAOF, or nothing.

WAIT counts writes of its own connection only; after a reconnect it would say yes to anything.  So it goes out in one piece with the writes.
"all" replicas are those that the primary has at that moment, at least one (`disk`: none).
"""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from aftr.store.errors import refusal
from aftr.store.line import Command
from aftr.store.settings import Durability, Node, StoreSettings


class Confirmation:
    """Appends the commands, and judges their answers: `commands(node)`, then `doubt(node, answers)`."""

    def __init__(self, settings: StoreSettings) -> None:
        self._durability, self._wanted = settings.durability, settings.wait_replicas
        self._least = 1 if settings.durability is Durability.REPLICATED else 0
        self._milliseconds = max(1, int(settings.timeout * 1000))
        self._replicas: dict[Node, int] = {}
        self.wait_for_disk = False  # WAITAOF: the store is new enough

    def commands(self, node: Node) -> list[Command]:
        """What to send behind the writes."""
        if self._durability in (Durability.NONE, Durability.MEMORY):
            return []
        wanted = self._number(self._replicas.get(node, 0))
        if self.wait_for_disk:
            return [("ROLE",), ("WAITAOF", 1, wanted, self._milliseconds)]
        return [("ROLE",), ("WAIT", wanted, self._milliseconds)]

    def doubt(self, node: Node, answers: list[Any]) -> str:
        """Why the writes do not count as stored; "" if they do. `answers` are those to `commands`."""
        if not answers:
            return ""
        for answer in answers:
            if isinstance(answer, ResponseError):
                return str(refusal(str(node), answer))
        role, acknowledged = answers
        if role[0] != b"master":
            return f"store {node} is no primary any more: it says {role[0].decode()}"
        self._replicas[node] = len(role[2])
        wanted = self._number(len(role[2]))
        on_disk, copies = acknowledged if self.wait_for_disk else (1, acknowledged)
        if not on_disk:
            return f"store {node} did not write it to its disk within {self._milliseconds} ms"
        if copies < wanted:
            return f"{copies} of {wanted} replicas of store {node} acknowledged within {self._milliseconds} ms ({len(role[2])} connected)"
        return ""

    def _number(self, connected: int) -> int:
        return max(self._least, connected) if self._wanted == "all" else self._wanted
