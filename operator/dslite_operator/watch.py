"""News from the API server, by kopf: into the cache and the queue, and nothing else.

Only indices and event handlers are used: with these, kopf writes nothing.  An index keeps all event handlers waiting until
every kind has been listed, so nothing is decided on half of the objects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

from dslite_operator.names import CHILDREN, KINDS, MANAGED_LABEL, MANAGER, Key
from dslite_operator.observe import MODELS, Cache, Place, key_of, place_of

Object = dict[str, Any]

WATCHED = ("AftrPool", "B4Group", *CHILDREN)
SELECTOR = f"{MANAGED_LABEL}={MANAGER}"
SERVER_TIMEOUT_S, CLIENT_TIMEOUT_S = 300, 330  # whole seconds: the API server takes no others


class News:
    """What the watches tell; `changed` is called with the pool that it is about."""

    def __init__(self, cache: Cache, changed: Callable[[Key], None]) -> None:
        self._cache, self._changed = cache, changed
        self._heard: dict[tuple[str, Place], Object] = {}  # pools and groups, but for their statuses

    async def see(self, body: kopf.Body, **_: Any) -> None:
        """An object as it is, before anybody acts on it."""
        self._cache.put(plain(body))

    async def tell(self, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002  kopf's name
        """An object came, changed or went."""
        found = plain(body)
        if type == "DELETED":
            self._cache.drop(found)
        else:
            self._cache.put(found)
        key = key_of(found)
        if key is not None and self._is_news(found, type):
            self._changed(key)

    def _is_news(self, body: Object, type: str | None) -> bool:  # noqa: A002
        """Statuses of pools and groups are ours: heard of as news, what we say of a look that failed would be the next look."""
        if body["kind"] not in MODELS:
            return True
        place, its = (body["kind"], place_of(body)), but_status(body)
        if type == "DELETED":
            self._heard.pop(place, None)
            return True
        before, self._heard[place] = self._heard.get(place), its
        return before != its


def but_status(body: Object) -> Object:
    """What of a pool or group is not its status: its spec has a generation."""
    return {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}


def plain(body: kopf.Body) -> Object:
    """The object without what only API servers need."""
    found: Object = dict(body)
    found["metadata"] = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    return found


def registry_of(news: News) -> kopf.OperatorRegistry:
    """All handlers."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(kopf.login_via_client)
    for kind in WATCHED:
        version, plural = KINDS[kind]
        kopf.index(version, plural, id=f"known-{plural}", registry=registry)(news.see)
        kopf.on.event(version, plural, id=f"changed-{plural}", registry=registry)(news.tell)
    return registry


def settings_of() -> kopf.OperatorSettings:
    """Watches that end and begin again by themselves, of our own objects only; no events and no state of kopf's own."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.server_timeout = SERVER_TIMEOUT_S
    settings.watching.client_timeout = CLIENT_TIMEOUT_S
    settings.watching.connect_timeout = 10.0
    settings.networking.request_timeout = 30.0
    for kind in CHILDREN:
        settings.watching.label_selectors[KINDS[kind]] = SELECTOR
    return settings
