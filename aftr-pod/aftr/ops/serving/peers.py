"""Questions between members, over their status ports: what they hold of a slot, and all of it.  Signed with the pool's key.

Each question says who asks, and where it can be asked itself: {"slot", "from", "address", ...}.
POST /v1/peer/ask   {"asked"}   ->  {"held", "epoch", "serves", "promises", "known": addresses of other members by uid}
POST /v1/peer/tail  {"reads"}   ->  chunks in the version that the asker reads; header X-Dslite-Held
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import structlog
from aiohttp import web

from aftr.failover.observation import Answer
from aftr.failover.state import Phase
from dslite_contract.journal import (
    NOTHING,
    UNANNOUNCED,
    DamagedEntryError,
    EntryId,
    Part,
    Records,
    joined,
    newest,
    oldest,
    split,
    unpack,
)
from dslite_contract.signing import SIGNATURE, genuine, signature

if TYPE_CHECKING:
    from aftr.ops.serving.member import Member

log = structlog.get_logger()

HELD = "X-Dslite-Held"
ASK_S, TAIL_S = 0.2, 2.0
LARGEST_BYTES = 4096  # of a question: it is read before it is known to be a member's


class Peers:
    """Asks, and answers."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.key = b""
        self._session: aiohttp.ClientSession | None = None

    async def open(self, key: bytes) -> None:
        """`key`: the pool's secret, the same for all members."""
        self.key = key
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()

    # ------------------------------------------------------------ asking
    async def ask(self, uid: str, slot: int, now: int) -> Answer | None:
        """What a member says of a slot; None when it does not answer in time."""
        found = await self._post(uid, "ask", {"slot": slot, "asked": now}, ASK_S)
        if found is None:
            return None
        answer = json.loads(found[0])
        self._member.meet(answer.get("known", {}))
        held = EntryId.parse(answer["held"])
        return Answer(
            now, held, answer.get("epoch", 0), answer["serves"], answer["promises"]
        )  # older programs say no epoch

    async def tail(self, uid: str, slot: int) -> tuple[EntryId, Records] | None:
        """All that a member holds of a slot, and up to which entry; None when it does not give it."""
        question = {"slot": slot, "reads": newest()}
        found = await self._post(uid, "tail", question, TAIL_S)
        if found is None or HELD not in found[1]:
            return None
        try:
            pieces = [unpack(chunk, Part.CHUNK) for chunk in split(found[0])]
        except DamagedEntryError as error:
            log.warning("tail not readable", slot=slot, member=uid, reason=str(error))
            return None
        return EntryId.parse(found[1][HELD]), joined(pieces)

    async def _post(self, uid: str, what: str, question: dict[str, Any], seconds: float) -> tuple[bytes, Any] | None:
        address = self._member.addresses.get(uid)
        if not address or self._session is None:
            return None
        body = json.dumps(question | {"from": self._member.uid, "address": self._member.address}).encode()
        headers = {SIGNATURE: self.sign(body)}
        url = f"http://{address}/v1/peer/{what}"
        try:
            timeout = aiohttp.ClientTimeout(total=seconds)
            async with self._session.post(url, data=body, headers=headers, timeout=timeout) as response:
                data = await response.read()
        except (aiohttp.ClientError, TimeoutError, ValueError):  # ValueError: an address that is none
            return None
        held = response.headers.get(HELD, "").encode(errors="surrogateescape")
        signed = genuine(response.headers.get(SIGNATURE, ""), self.key, body + held + data)
        return (data, response.headers) if response.status == 200 and signed else None

    def sign(self, data: bytes) -> str:
        """Of a question, or of question, what is held, and answer."""
        return signature(self.key, data)

    # ------------------------------------------------------------ answering
    def routes(self) -> list[web.RouteDef]:
        """For the status port."""
        return [web.post("/v1/peer/ask", self.get_ask), web.post("/v1/peer/tail", self.get_tail)]

    async def _question(self, request: web.Request) -> tuple[bytes, Any, dict[str, Any]]:
        if not self.key:
            raise web.HTTPServiceUnavailable(text="the store was not reached yet, and so the pool's key is not known\n")
        if request.content_length is None or request.content_length > LARGEST_BYTES:
            raise web.HTTPBadRequest(text=f"a member's question has at most {LARGEST_BYTES} bytes, and says how many\n")
        body = await request.read()
        if not genuine(request.headers.get(SIGNATURE, ""), self.key, body):
            raise web.HTTPForbidden(text="not signed with the pool's key\n")
        question = json.loads(body)
        self._member.meet({question["from"]: question.get("address", "")})
        return body, self._member.slots[int(question["slot"])], question

    async def get_ask(self, request: web.Request) -> web.Response:
        """What we hold of a slot, whether we serve it, and what we promise."""
        body, slot, _ = await self._question(request)
        answer = slot.observed(self._member.observation(slot))
        if slot.phase is Phase.CLOSED:
            answer = replace(answer, held=NOTHING)
        said = {
            "held": str(answer.held),
            "epoch": answer.epoch,
            "serves": answer.serves,
            "promises": answer.promises,
            "known": self._member.addresses,
        }
        text = json.dumps(said).encode()
        return web.Response(body=text, headers={SIGNATURE: self.sign(body + text)})

    async def get_tail(self, request: web.Request) -> web.Response:
        """All that we hold."""
        body, slot, question = await self._question(request)
        held, version = slot.content, max(oldest(), min(newest(), int(question.get("reads", UNANNOUNCED))))
        life = self._member.pod.lives[slot.number]
        data = await asyncio.to_thread(lambda: b"".join(slot.chunks(version))) if held > NOTHING else b""
        if self._member.pod.lives[slot.number] != life:
            raise web.HTTPConflict(text=f"slot {slot.number} was emptied meanwhile: ask again\n")
        return web.Response(
            body=data, headers={SIGNATURE: self.sign(body + str(held).encode() + data), HELD: str(held)}
        )
