"""Heartbeats. A member is alive as long as its counter moves; nothing here judges, and no clock of Redis counts."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from aftr.store.client import Client
from dslite_contract.store_keys import members_key, secret_key


@dataclass(frozen=True)
class MemberRecord:
    """A member's last heartbeat: only that `counter` changes has a meaning. `info` is what it says of itself."""

    counter: int
    info: Mapping[str, str] = field(default_factory=dict)


SHOWN = 80  # bytes of what cannot be read
RECORD = TypeAdapter(MemberRecord)  # names that this program does not know are left out


class Members:
    """Heartbeats of this member, on a connection of their own, and those of all."""

    def __init__(self, client: Client) -> None:
        self._client, self._uid = client, client.settings.uid
        self._key = members_key(client.settings.prefix)
        self._counter = 0
        self.unread: Mapping[str, str] = {}  # whose record `all` found to be no heartbeat, and the sentence for people

    async def heartbeat(self, info: Mapping[str, str]) -> None:
        """Has been seen by the store when this returns; StoreError otherwise."""
        self._counter += 1
        await self.put(self._uid, MemberRecord(self._counter, info))

    async def put(self, uid: str, record: MemberRecord) -> None:
        """Enter what is said of a member."""
        await self._client.ask(self._key, "members", ("HSET", self._key, uid, RECORD.dump_json(record)))

    async def all(self) -> dict[str, MemberRecord]:
        """Who has ever sent a heartbeat and not left; what cannot be read is named in `unread`, and the next heartbeat replaces it."""
        (answer,) = await self._client.ask(self._key, "members", ("HGETALL", self._key))
        records, unread = dict[str, MemberRecord](), dict[str, str]()
        for uid, text in zip(answer[::2], answer[1::2], strict=True):
            try:
                records[str(uid, "utf-8")] = RECORD.validate_json(text)
            except ValueError:
                unread[repr(uid)] = f"{self._key}: the field {uid!r} is no heartbeat: {text[:SHOWN]!r}"
        self.unread = unread
        return records

    async def key(self, ours: bytes) -> bytes:
        """A secret that all members share: what the store has, else `ours`, if not empty, or a new one."""
        key = secret_key(self._client.settings.prefix)
        (found,) = await self._client.ask(key, "members", ("GET", key))
        if found is None:
            new = ours or secrets.token_hex(32)
            _, found = await self._client.ask(key, "members", ("SET", key, new, "NX"), ("GET", key))
        return bytes(found)

    async def remove(self, uid: str) -> None:
        """Strike a member off."""
        await self._client.ask(self._key, "members", ("HDEL", self._key, uid))
