"""What status port and control socket want of a running AFTR."""

from __future__ import annotations

from typing import Any, Protocol

from aftr.state.pod import Pod


class AgentView(Protocol):
    """The part of `aftr.ops.agent.Agent` that others look at."""

    pod: Pod
    member: Any  # of `aftr.ops.serving.member`, None without a store
    started: float  # seconds since the epoch
    config_hash: str
    sessions: dict[str, str]  # of BGP, by peer; empty without spec.routing
    last_error: str | None  # why the configuration file's newest content is not in force

    def question_key(self) -> bytes | None:
        """With which the operator signs its questions; None: anybody may ask them; empty: nobody."""

    def alive(self) -> bool:
        """Whether all worker threads run."""

    def missing(self) -> list[str]:
        """Why the pod is not ready, in words; empty when it is."""

    def verify(self) -> list[str]:
        """What does not hold between the tables; packets wait meanwhile."""

    def store_state(self) -> dict[str, Any] | None:
        """The pool's store: reachable, trouble, warnings; None without one."""

    def slot_states(self) -> list[dict[str, Any]]:
        """What the pool's members do with each slot; empty without a store."""

    def worker_states(self) -> list[dict[str, Any]]:
        """Each worker: worker, core, loops, packets, busySeconds, framesFree, slots."""

    def interface_states(self) -> list[dict[str, Any]]:
        """Each interface: interface, side, device, mode, mtu, vlan, up, counters."""
