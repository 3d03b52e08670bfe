"""How many pods a pool needs, by what its pods say of themselves.  Pure.

The rule of Kubernetes' own autoscaler: pods × use ÷ target, the largest over the targets.  More pods come at once, at most twice
as many in a step; fewer come when fewer would have been enough for the whole stabilisation time, one at a time.  A pod
that says nothing never makes the pool smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from dslite_contract.schema import Autoscaling

TOLERANCE = 0.1  # of a target, within which nothing changes
STEP_S = 15.0  # between two steps up: what the last one brought must show


@dataclass(frozen=True)
class Use:
    """Shares (0 to 1) of one pod: of its packet threads' time, and of the port blocks of the slots that it serves."""

    workers: float
    ports: float


@dataclass
class History:
    """What was decided, in seconds of a clock that only grows.  A new operator remembers nothing, so it waits first."""

    began: float
    needs: list[tuple[float, int]] = field(default_factory=list)
    stepped: float = -math.inf


@dataclass(frozen=True)
class Decision:
    """A number of pods and the sentence that explains it."""

    replicas: int
    sentence: str


def need(current: int, uses: Sequence[Use], bounds: Autoscaling) -> int:
    """Pods that would bring use to its targets."""
    targets = bounds.targets
    ratios = [
        sum(use.workers for use in uses) / len(uses) * 100 / targets.worker_utilization_percent,
        sum(use.ports for use in uses) / len(uses) * 100 / targets.port_utilization_percent,
    ]
    largest = max(ratios)
    return current if abs(largest - 1) <= TOLERANCE else max(math.ceil(len(uses) * largest - 1e-9), 1)


def decide(now: float, current: int, uses: Sequence[Use], bounds: Autoscaling, history: History) -> Decision:
    """The number of pods from now on; `history` is brought up to date."""
    within = clamp(current, bounds)
    if within != current:
        return Decision(within, f"{within} pods: minReplicas {bounds.min_replicas}, maxReplicas {bounds.max_replicas}")
    if not uses:
        return Decision(current, f"{current} pods stay: none says how busy it is")
    wanted = clamp(need(current, uses, bounds), bounds)
    if len(uses) < current:  # some say nothing: they may be as busy as can be
        wanted = max(wanted, current)
    window = bounds.scale_down_stabilization_seconds
    history.needs = [(then, number) for then, number in history.needs if now - then <= window] + [(now, wanted)]
    if wanted > current:
        return more(now, current, wanted, history)
    enough = max(number for _, number in history.needs)
    if enough >= current or now - max(history.began, history.stepped) < window:
        return Decision(current, f"{current} pods stay: {wanted} would do now, {enough} in the last {window} s")
    history.stepped = now
    return Decision(current - 1, f"{current - 1} pods: {enough} were enough for {window} s")


def more(now: float, current: int, wanted: int, history: History) -> Decision:
    """A step up, when the last one had time to show."""
    if now - history.stepped < STEP_S:
        return Decision(current, f"{current} pods stay for now: the last step is {now - history.stepped:.0f} s ago")
    history.stepped = now
    replicas = min(wanted, 2 * current)
    return Decision(replicas, f"{replicas} pods: use asks for {wanted}")


def clamp(number: int, bounds: Autoscaling) -> int:
    """Within minReplicas and maxReplicas."""
    return min(max(number, bounds.min_replicas), bounds.max_replicas)
