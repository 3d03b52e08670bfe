"""One operator at a time: a Lease that the one at work renews.  Whoever cannot renew it ends."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog

from dslite_contract.errors import DsliteError
from dslite_operator.apply import CONFLICT, NOT_FOUND, ApiError, Writer
from dslite_operator.names import MANAGER, NAME_LABEL, path

Object = dict[str, Any]
log = structlog.get_logger()

DURATION_S, RENEW_S, RETRY_S = 45.0, 15.0, 2.0  # four writes a minute
GIVE_UP_S = 30.0  # after a renewal: requests that are under way have ended when another operator may take the Lease


class LeaseLostError(DsliteError):
    """Another operator is at work, or we could not say that we are."""


class Lease:
    """The Lease of one namespace; `who` names this process."""

    def __init__(self, writer: Writer, namespace: str, who: str) -> None:
        self._writer, self._namespace, self.who = writer, namespace, who
        self._seen: tuple[object, float] = (None, 0.0)  # another's last renewal, and when we saw it first
        self._renewed = 0.0

    @property
    def _where(self) -> str:
        return path("Lease", self._namespace, MANAGER)

    async def acquire(self) -> None:
        """Until the Lease is ours."""
        while not await self._answered():  # noqa: ASYNC110  it is another process that ends
            await asyncio.sleep(RETRY_S)
        log.info("this operator is at work", who=self.who)

    async def keep(self) -> None:
        """Renew it; raises LeaseLostError when that does not work in time."""
        while True:
            await asyncio.sleep(RENEW_S)
            ours = False
            with suppress(TimeoutError):
                async with asyncio.timeout(self._renewed + GIVE_UP_S - time.monotonic()):
                    ours = await self._answered()
            if not ours:
                raise LeaseLostError("the lease is lost: another operator may be at work, this one ends")

    async def release(self) -> None:
        """Let another begin at once."""
        found = await self._read()
        if found is not None and found["spec"].get("holderIdentity") == self.who:
            await self._writer.call("PUT", self._where, {**found, "spec": {**found["spec"], "holderIdentity": ""}})

    async def _read(self) -> Object | None:
        try:
            return await self._writer.call("GET", self._where)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def _answered(self) -> bool:
        """Whether the Lease is ours, once the API server says: it may be away for a while."""
        while True:
            try:
                return await self._try()
            except ApiError as error:
                log.warning("the Lease is neither taken nor renewed", reason=str(error))
            await asyncio.sleep(RETRY_S)

    async def _try(self) -> bool:
        """Take or renew the Lease, if nobody else has it; the API server refuses the slower of two."""
        begun, found = time.monotonic(), await self._read()
        if found is not None and not self._may_take(found):
            return False
        spec = {
            "holderIdentity": self.who, "leaseDurationSeconds": int(DURATION_S),
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }  # fmt: skip
        try:
            if found is None:
                metadata = {"name": MANAGER, "namespace": self._namespace, "labels": {NAME_LABEL: MANAGER}}
                body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
                await self._writer.call("POST", path("Lease", self._namespace), body)
            else:
                await self._writer.call("PUT", self._where, {**found, "spec": {**found["spec"], **spec}})
        except ApiError as error:
            if error.status == CONFLICT:
                return False
            raise
        self._renewed = begun
        return True

    def _may_take(self, found: Object) -> bool:
        """Ours, free, or not renewed for its whole time by our own clock."""
        holder = found["spec"].get("holderIdentity")
        if holder in (self.who, "", None):
            return True
        renewal, now = (holder, found["spec"].get("renewTime")), time.monotonic()
        if self._seen[0] != renewal:
            self._seen = (renewal, now)
        return now - self._seen[1] > DURATION_S
