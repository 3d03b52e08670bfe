"""What an AFTR's `/status` has to have before its words are taken: what the operator reads of it.  Pure."""

from __future__ import annotations

from typing import Any, TypeGuard

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel


class Part(BaseModel):
    """Part of an answer: other releases may have more."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class Applied(Part):
    """The configuration that is in force there."""

    hash: str
    last_error: str | None


class Store(Part):
    """Of a pool with a store."""

    reachable: bool
    trouble: str


class Worker(Part):
    """One worker."""

    utilisation: float


class Slot(Part):
    """One slot, whoever serves it."""

    slot: int
    state: str


class Served(Slot):
    """One that this AFTR serves."""

    epoch: int = 0
    subscribers: int
    mappings: int
    blocks: int
    blocks_free: int


class Status(Part):
    """The whole."""

    missing: list[str]
    config: Applied
    store: Store | None = None
    routing: dict[str, str] | None = None
    port_utilisation: float
    workers: list[Worker]
    slots: list[Slot]


SERVED = TypeAdapter(list[Served])


def is_status(found: object) -> TypeGuard[dict[str, Any]]:
    """Whether all that is read of it is there, and of its kind."""
    try:
        Status.model_validate(found)
        assert isinstance(found, dict)  # a model is none of an answer's kinds
        SERVED.validate_python([slot for slot in found["slots"] if slot["state"] == "open"])
    except ValidationError:
        return False
    return True
