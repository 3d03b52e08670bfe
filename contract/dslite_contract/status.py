"""What the operator says in the status of an AftrPool and of a B4Group: written by it alone, read by people and programs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dslite_contract.schema import LARGEST_SLOTS, Model
from dslite_contract.values import Leaf, choice, whole

LONGEST_SENTENCE = 4096
ConditionStatus = Literal["True", "False", "Unknown"]


def said(longest: int = 253) -> Leaf:
    """Text of at most `longest` characters."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or len(value) > longest:
            raise ValueError
        return value

    return Leaf(parse, f"text of at most {longest} characters", {"type": "string", "maxLength": longest})


def count() -> Leaf:
    """A number of things."""
    return whole(0, 1 << 53)


class Condition(Model):
    """One thing that holds or does not, in the shape that all of Kubernetes uses."""

    type: Annotated[str, said(63)] = Field(description="What is judged.")
    status: Annotated[ConditionStatus, choice("True", "False", "Unknown")] = Field(description="Whether it holds.")
    reason: Annotated[str, said(63)] = Field(description="Why, in one word.")
    message: Annotated[str, said(LONGEST_SENTENCE)] = Field(description="Why, in a sentence.")
    last_transition_time: Annotated[str, said(32)] = Field(description="Since when (RFC 3339).")
    observed_generation: Annotated[int, count()] = Field(description="Generation of the object that was judged.")


class SlotStatus(Model):
    """One slot, as the pod that serves it tells."""

    slot: Annotated[int, whole(0, LARGEST_SLOTS - 1)] = Field(description="Number.")
    address: Annotated[str, said(39)] = Field(description="Tunnel address.")
    fqdn: Annotated[str, said()] = Field(description="Name (RFC 6334).")
    prefixes: tuple[Annotated[str, said(18)], ...] = Field(default=(), max_length=256, description="Its IPv4 prefixes.")
    pod: Annotated[str | None, said()] = Field(default=None, description="The pod that serves it; absent: none.")
    epoch: Annotated[int | None, count()] = Field(default=None, description="Epoch of its owner, else of its last one.")
    subscribers: Annotated[int | None, count()] = Field(default=None, description="Subscribers.")
    mappings: Annotated[int | None, count()] = Field(default=None, description="Mappings.")
    port_utilization_percent: Annotated[int | None, whole(0, 100)] = Field(
        default=None, description="Share of its port blocks that cannot be given out."
    )


class NatPoolStatus(Model):
    """How many subscribers a NAT pool can serve: addresses × blocks of an address."""

    name: Annotated[str, said(63)] = Field(description="Name.")
    addresses: Annotated[int, count()] = Field(description="External addresses.")
    blocks_per_address: Annotated[int, count()] = Field(description="Port blocks of one address: floor(64512 / size).")
    subscribers: Annotated[int, count()] = Field(description="Subscribers with one block each.")
    subscribers_at_most_blocks: Annotated[int, count()] = Field(
        description="Subscribers with maxPerSubscriber blocks each."
    )


class AftrPoolStatus(Model):
    """What is so, of what an AftrPool asks for."""

    observed_generation: Annotated[int | None, count()] = Field(default=None, description="Generation that was judged.")
    replicas: Annotated[int | None, count()] = Field(default=None, description="Pods that there are.")
    ready_replicas: Annotated[int | None, count()] = Field(default=None, description="Those that are ready.")
    wanted_replicas: Annotated[int | None, count()] = Field(default=None, description="Pods that there should be.")
    selector: Annotated[str | None, said(1024)] = Field(default=None, description="Label selector of the pods.")
    release: Annotated[str | None, said(63)] = Field(default=None, description="Release of the pods' template.")
    config_hash: Annotated[str | None, said(64)] = Field(default=None, description="Configuration that is in force.")
    subscribers: Annotated[int | None, count()] = Field(default=None, description="Subscribers of all slots.")
    mappings: Annotated[int | None, count()] = Field(default=None, description="Mappings of all slots.")
    port_utilization_percent: Annotated[int | None, whole(0, 100)] = Field(
        default=None, description="Share of all port blocks that cannot be given out."
    )
    nat_pools: tuple[NatPoolStatus, ...] = Field(default=(), max_length=16, description="What the NAT pools can serve.")
    slots: tuple[SlotStatus, ...] = Field(default=(), max_length=LARGEST_SLOTS, description="The slots.")
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16, description="What holds and what does not.")


class GroupSlotStatus(Model):
    """A slot, as far as one group is concerned."""

    slot: Annotated[int, whole(0, LARGEST_SLOTS - 1)] = Field(description="Number.")
    fqdn: Annotated[str, said()] = Field(description="Name (RFC 6334).")
    told: Annotated[int, count()] = Field(
        description="B4s with a lease that are told this name; softwires, where no lease tells B4s apart."
    )
    sessions: Annotated[int, count()] = Field(
        description="Their established sessions: what moving all of them would end."
    )
    softwires: Annotated[int, count()] = Field(description="B4s of the group that the slot serves now.")


class MovesStatus(Model):
    """B4s that are still to be told another slot."""

    left: Annotated[int, count()] = Field(description="How many.")
    sessions: Annotated[int, count()] = Field(description="Established sessions that they lose.")
    steps: Annotated[int, count()] = Field(description="In how many steps.")
    next: Annotated[str | None, said(32)] = Field(default=None, description="When the next step is (RFC 3339).")
    done: Annotated[str | None, said(32)] = Field(
        default=None, description="When the last of them has moved (RFC 3339)."
    )


class StrayStatus(Model):
    """A B4 that is on another slot than it was told: on its way, or with a name or an address of its own."""

    address: Annotated[str, said(39)] = Field(description="Its softwire's address.")
    served_by: Annotated[int, whole(0, LARGEST_SLOTS - 1)] = Field(description="The slot that serves it.")
    told: Annotated[int | None, whole(0, LARGEST_SLOTS - 1)] = Field(
        default=None, description="The slot that it is told; absent: no lease says which."
    )


class B4GroupStatus(Model):
    """What is so, of what a B4Group asks for."""

    observed_generation: Annotated[int | None, count()] = Field(default=None, description="Generation that was judged.")
    renew_seconds: Annotated[int | None, count()] = Field(
        default=None, description="T1 of its leases: a B4 moves within that time."
    )
    slots: tuple[GroupSlotStatus, ...] = Field(default=(), max_length=LARGEST_SLOTS, description="Its slots.")
    moves: MovesStatus | None = Field(default=None, description="What is still to be moved.")
    strays: Annotated[int | None, count()] = Field(default=None, description="B4s on another slot than they were told.")
    stray_softwires: tuple[StrayStatus, ...] = Field(default=(), max_length=32, description="The first of these.")
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16, description="What holds and what does not.")
