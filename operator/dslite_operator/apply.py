"""The only writer: requests to the API server, in a small pool of threads, each with an end."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import structlog
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from dslite_contract.errors import DsliteError
from dslite_operator.names import DRAIN, KINDS, MANAGER, Key, path
from dslite_operator.plan import Annotate, Apply, Delete, Step
from dslite_operator.status import Said

Object = dict[str, Any]
log = structlog.get_logger()

THREADS = 8
TIMEOUT_S = 10.0
APPLY, MERGE, JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json"
FORBIDDEN, NOT_FOUND, CONFLICT = 403, 404, 409
AS_US = {"fieldManager": MANAGER}


class ApiError(DsliteError):
    """The API server refuses a request, or does not answer; `status` is 0 then."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


class Writer:
    """Requests to one API server, by the login of a client: each is made once."""

    def __init__(self, api: client.ApiClient, threads: int = THREADS) -> None:
        api.configuration.retries = False  # urllib3's take four times TIMEOUT_S, and as long as a refusal says
        self._api = client.ApiClient(api.configuration)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="api")
        self.writes = 0  # requests that were no GET

    async def call(
        self,
        method: str,
        where: str,
        body: Object | None = None,
        kind: str = JSON,
        query: Mapping[str, str] | None = None,
    ) -> Object:
        """One request; the answer's object.  Raises ApiError."""
        self.writes += method != "GET"
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._call, method, where, body, kind, query or {}
        )

    def _call(self, method: str, where: str, body: Object | None, kind: str, query: Mapping[str, str]) -> Object:
        headers = {"Accept": "application/json", "Content-Type": kind}
        request = self._api.param_serialize(
            method,
            where,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._api.call_api(*request, _request_timeout=TIMEOUT_S)
            text = answer.read()  # type: ignore[no-untyped-call]
        except ApiException as error:
            raise refusal(method, where, error.status or 0, error.body) from error
        except Exception as error:  # urllib3's many
            raise ApiError(f"{method} {where}: the API server does not answer: {error}") from error
        if not 200 <= answer.status <= 299:
            raise refusal(method, where, answer.status, text)
        found: Object = json.loads(text)
        return found

    # ------------------------------------------------------------ objects
    async def list(self, kind: str, namespace: str | None, query: Mapping[str, str] | None = None) -> list[Object]:
        """All objects of a kind, as the watches give them; with labelSelector or fieldSelector, those that it chooses."""
        found = await self.call("GET", path(kind, namespace), query=query)
        return [{"apiVersion": KINDS[kind][0], "kind": kind, **item} for item in found["items"]]

    async def knows(self, kind: str) -> bool:
        """Whether the API server has this kind."""
        try:
            found = await self.call("GET", f"/apis/{KINDS[kind][0]}")
        except ApiError as error:
            if error.status == NOT_FOUND:
                return False
            raise
        return any(one["kind"] == kind for one in found["resources"])

    async def apply(self, body: Object, subresource: str = "") -> Object:
        """Server-side apply: what we say of an object, whoever said something else before."""
        metadata = body["metadata"]
        where = path(body["kind"], metadata["namespace"], metadata["name"], subresource)
        return await self.call("PATCH", where, body, APPLY, {**AS_US, "force": "true"})

    async def create(self, body: Object) -> Object | None:
        """Make an object; None when it is there already."""
        try:
            return await self.call("POST", path(body["kind"], body["metadata"]["namespace"]), body, JSON, AS_US)
        except ApiError as error:
            if error.status == CONFLICT:
                return None
            raise

    async def carry_out(self, key: Key, step: Step) -> Object | None:
        """One step of a plan; the object as it is now.  A pod that is gone meanwhile needs nothing any more."""
        try:
            match step:
                case Apply(body):
                    return await self.apply(body)
                case Delete(body):
                    await self.call("DELETE", path(body["kind"], key.namespace, body["metadata"]["name"]))
                case Annotate(pod, annotations):
                    patch: Object = {"metadata": {"annotations": dict(annotations)}}
                    return await self.call("PATCH", path("Pod", key.namespace, pod), patch, MERGE, AS_US)
        except ApiError as error:
            if error.status != NOT_FOUND or isinstance(step, Apply):
                raise
        return None

    # ------------------------------------------------------------ our own objects
    async def begin(self, body: Object, release: str) -> Object:
        """Our finalizer and `spec.release` on a pool; only if nobody else has changed it meanwhile."""
        metadata = body["metadata"]
        kept = [one for one in metadata.get("finalizers", ()) if one != DRAIN]
        return await self._patch_pool(body, {"finalizers": [*kept, DRAIN]}, {"spec": {"release": release}})

    async def end(self, body: Object) -> Object:
        """Our finalizer off a pool."""
        kept = [one for one in body["metadata"].get("finalizers", ()) if one != DRAIN]
        return await self._patch_pool(body, {"finalizers": kept}, {})

    async def _patch_pool(self, body: Object, metadata: Object, rest: Object) -> Object:
        version = {"resourceVersion": body["metadata"]["resourceVersion"]}
        where = path("AftrPool", body["metadata"]["namespace"], body["metadata"]["name"])
        return await self.call("PATCH", where, {"metadata": {**version, **metadata}, **rest}, MERGE, AS_US)

    async def status(self, body: Object, status: Object) -> Object:
        """The status of a pool or group."""
        return await self.apply({**identity(body), "metadata": place(body), "status": status}, "status")

    async def say(self, body: Object, said: Iterable[Said]) -> None:
        """Events; the same thing said twice is one.  One that is refused is lost: nothing waits for it."""
        for one in said:
            try:
                await self.create(event(body, one, datetime.now(UTC)))
            except ApiError as error:
                if not error.status:
                    raise  # nobody is answered
                log.warning("an Event is lost", object=body["metadata"]["name"], said=one.message, reason=str(error))


def identity(body: Object) -> Object:
    """Version and kind."""
    return {"apiVersion": body["apiVersion"], "kind": body["kind"]}


def place(body: Object) -> Object:
    """Name and namespace."""
    return {"name": body["metadata"]["name"], "namespace": body["metadata"]["namespace"]}


def event(body: Object, said: Said, now: datetime) -> Object:
    """An Event, whose name follows from what it says and of which generation."""
    uid, version = body["metadata"]["uid"], body["metadata"]["resourceVersion"]
    digest = hashlib.sha256(f"{uid} {version} {said.reason} {said.message}".encode()).hexdigest()[:16]
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": f"{body['metadata']['name']}.{digest}", "namespace": body["metadata"]["namespace"]},
        "involvedObject": {**identity(body), **place(body), "uid": uid, "resourceVersion": version},
        "type": said.type, "reason": said.reason, "message": said.message[:1024],
        "source": {"component": MANAGER}, "firstTimestamp": stamp, "lastTimestamp": stamp, "count": 1,
    }  # fmt: skip


def refusal(method: str, where: str, status: int, body: object) -> ApiError:
    """What the API server says, in one line."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text.strip()
    return ApiError(f"{method} {where}: {status} {message}", status)
