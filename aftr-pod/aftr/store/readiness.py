"""Whether this store, as it is set up, can keep what is asked of it, and whether it is ours.

Managed stores hide their settings (CONFIG is refused): what cannot be read is not judged, except that `disk` wants proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from aftr.store.client import Client
from aftr.store.errors import StoreUnsuitableError, refusal
from aftr.store.settings import Durability, Node, StoreSettings
from dslite_contract.store_keys import ids_key

OLDEST = (7, 0)  # scripts that a replica refuses
WAITAOF_SINCE = (7, 2)
ASKED = ("maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "min-replicas-to-write")


@dataclass(frozen=True)
class Facts:
    """One primary: version, the settings that it shows, and how many replicas it has."""

    node: Node
    version: tuple[int, ...]
    config: Mapping[str, str]
    replicas: int


def objections(facts: Facts, durability: Durability) -> list[str]:
    """Why the store is refused."""
    found, config = [], facts.config
    if facts.version < OLDEST:
        found.append(f"is Redis {_dotted(facts.version)}: {_dotted(OLDEST)} or newer is needed")
    policy = config.get("maxmemory-policy", "noeviction")
    if config.get("maxmemory", "0") != "0" and policy != "noeviction":
        found.append(f"has maxmemory-policy {policy} and would throw bindings away: set noeviction")
    if durability is Durability.DISK:
        always = config.get("appendonly") == "yes" and config.get("appendfsync") == "always"
        if facts.version < WAITAOF_SINCE and not always:
            found.append(
                f"is Redis {_dotted(facts.version)} without appendonly yes and appendfsync always: "
                f"durability disk needs these, or {_dotted(WAITAOF_SINCE)}"
            )
        elif config.get("appendonly") == "no":
            found.append("has appendonly no: durability disk needs appendonly yes")
    return found


def warnings(facts: Facts, settings: StoreSettings) -> list[str]:
    """What does not hinder, but should be known."""
    found = list[str]()
    wanted = min(1, facts.replicas)  # where there is none, none can be promoted meanwhile
    if settings.durability is Durability.REPLICATED:
        wanted = 1 if settings.wait_replicas == "all" else settings.wait_replicas
    if facts.replicas < wanted:
        found.append(f"store {facts.node} has {facts.replicas} replicas: new bindings wait until it has {wanted}")
    if int(facts.config.get("min-replicas-to-write", wanted)) < wanted:
        found.append(
            f"store {facts.node} has min-replicas-to-write below {wanted}: a primary cut off from its replicas takes writes"
        )
    return found


async def check(client: Client) -> tuple[str, ...]:
    """Looks at every primary; warnings, or StoreUnsuitableError."""
    settings = client.settings
    every = [await facts_of(client, node) for node in await client.topology.nodes()]
    refused = [f"store {facts.node} {one}" for facts in every for one in objections(facts, settings.durability)]
    if refused:
        raise StoreUnsuitableError("; ".join(refused))
    new = all(facts.version >= WAITAOF_SINCE for facts in every)
    client.confirmation.wait_for_disk = settings.durability is Durability.DISK and new
    return tuple(one for facts in every for one in warnings(facts, settings))


async def facts_of(client: Client, node: Node) -> Facts:
    """Asks one primary."""
    info, role, *answers = await client.ask_node(
        node, ("INFO", "server"), ("ROLE",), *(("CONFIG", "GET", name) for name in ASKED)
    )
    for answer in (info, role):
        if isinstance(answer, ResponseError):
            raise refusal(str(node), answer)
    if role[0] != b"master":
        raise StoreUnsuitableError(
            f"store {node} is a replica: give the address of the primary, or let Sentinel or Cluster name it"
        )
    lines = dict(line.split(":", 1) for line in str(info, "utf-8").splitlines() if ":" in line)
    version = tuple(int(part) for part in lines["redis_version"].split("."))
    return Facts(node, version, _settings(answers), len(role[2]))


def _settings(answers: list[Any]) -> dict[str, str]:
    readable = [answer for answer in answers if isinstance(answer, list) and len(answer) == 2]
    return {str(name, "utf-8"): str(value, "utf-8") for name, value in readable}


async def own(client: Client) -> None:
    """Leaves our mark, where nobody has; StoreUnsuitableError if another's is there and `adopt` is not set."""
    settings, key = client.settings, ids_key(client.settings.prefix)
    ours = f"{settings.cluster} {settings.pool}"
    _, answer = await client.ask(key, "ask", ("SETNX", key, ours), ("GET", key))
    found = str(answer, "utf-8")
    if found == ours:
        return
    if not settings.adopt:
        cluster, _, pool = found.partition(" ")
        raise StoreUnsuitableError(
            f"store {key!r} belongs to pool {pool!r} of cluster {cluster!r}, not to {settings.pool!r} of {settings.cluster!r}: "
            "give it a Redis of its own, or store.adopt: true to take this one over"
        )
    await client.ask(key, "ask", ("SET", key, ours))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
