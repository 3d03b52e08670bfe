"""What is done to the store.  Each ends with an AFTR that is killed: whoever takes its slots reads what the store has by then.

store-restart   the Redis restarts with its data
store-empty     it restarts without
store-old       it restarts with what it had a while ago
store-primary   the primary is killed, and a Sentinel set promotes a replica (lab with `--store sentinel`)
store-shard     a primary of a Cluster is killed, and its replica takes over (`--store cluster`)
"""

from __future__ import annotations

from collections.abc import Callable

from aftr_lab.chaos.report import Strike
from aftr_lab.chaos.scene import Scene
from aftr_lab.errors import LabError
from aftr_lab.network import run
from aftr_lab.stores import PRIMARY_NAME, StoreKind, StoreNode, store_client

OLD_S = 3.0  # how old what the store falls back to is
DUMP = "dump.rdb"


def _strike(scene: Scene, strike: Strike, restart: Callable[[], None]) -> None:
    """The store goes and comes back, and all slots go on; then an AFTR is killed."""
    strike.slots = list(range(len(scene.state["slots"])))
    restart()
    scene.recover()
    scene.until_stored()
    scene.kill_after(strike)
    scene.recover()
    scene.start(strike.victim)


def _need(scene: Scene, kind: StoreKind) -> None:
    if scene.plan.store != kind:
        raise LabError(f"this lab's store is {scene.plan.store}: this fault needs `aftr-lab up FILE --store {kind}`")


def _cli(scene: Scene, node: StoreNode, *words: str) -> str:
    return scene.run(node.name, *store_client(node, *words))


def store_restart(scene: Scene, strike: Strike) -> None:
    """All that was written comes back."""
    node = scene.plan.stores[0]

    def restart() -> None:
        _cli(scene, node, "shutdown", "save", "force")
        scene.await_end(node.name)
        scene.start(node.name)

    _strike(scene, strike, restart)


def store_empty(scene: Scene, strike: Strike) -> None:
    """Owners and warm copies are all there is."""
    node = scene.plan.stores[0]

    def restart() -> None:
        scene.kill(node.name)
        (scene.record.store_directory(node.name) / DUMP).unlink(missing_ok=True)
        scene.start(node.name)

    _strike(scene, strike, restart)


def store_old(scene: Scene, strike: Strike) -> None:
    """The store has forgotten the last seconds, and does not know it."""
    node = scene.plan.stores[0]

    def restart() -> None:
        _cli(scene, node, "save")
        scene.load.last(OLD_S)
        scene.kill(node.name)
        scene.start(node.name)

    _strike(scene, strike, restart)


def store_primary(scene: Scene, strike: Strike) -> None:
    """Sentinels notice, and promote one of two replicas."""
    _need(scene, "sentinel")
    sentinel = next(node for node in scene.plan.stores if node.role == "sentinel")
    address = _cli(scene, sentinel, "sentinel", "get-master-addr-by-name", PRIMARY_NAME).split()[0]
    primary = next(node for node in scene.plan.stores if str(node.address) == address)
    strike.how = primary.name
    _strike(scene, strike, lambda: scene.kill(primary.name))
    scene.start(primary.name)


def store_shard(scene: Scene, strike: Strike) -> None:
    """A third of the slots' journals lose their node for a moment."""
    _need(scene, "cluster")
    primary, replica = scene.chance.choice(_shards(scene))
    strike.how = primary.name

    def promoted() -> bool:
        return run(scene.plan.namespace(replica.name), store_client(replica, "role")).startswith("master")

    def restart() -> None:
        scene.kill(primary.name)
        scene.until(promoted, f"{replica.name} is promoted")
        scene.start(primary.name)  # as its replica, without which `replicated` takes nothing new

    _strike(scene, strike, restart)


def _shards(scene: Scene) -> list[tuple[StoreNode, StoreNode]]:
    """Primary and replica of each shard of a Cluster."""
    nodes = {str(node): node for node in scene.plan.stores}
    rows = [row.split() for row in _cli(scene, scene.plan.stores[0], "cluster", "nodes").splitlines()]
    place = {row[0]: nodes[row[1].partition("@")[0]] for row in rows}
    return [(place[row[3]], place[row[0]]) for row in rows if row[3] in place]


FAULTS: dict[str, Callable[[Scene, Strike], None]] = {
    "store-restart": store_restart, "store-empty": store_empty, "store-old": store_old, "store-primary": store_primary,
    "store-shard": store_shard,
}  # fmt: skip
