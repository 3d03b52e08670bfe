"""The reconcile's way, for one pool at a time: observe → desired → plan → apply → status."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp
import structlog

from dslite_contract.errors import DsliteError
from dslite_contract.rules import owner_name
from dslite_contract.schema import AftrPool
from dslite_operator import autoscaler, pods, redis, signer
from dslite_operator.accept import Proposal, propose, scaled, spare, turned_down
from dslite_operator.apply import FORBIDDEN, ApiError, Writer
from dslite_operator.claims import Holder, Refused, judge
from dslite_operator.desired import Wish, config_map, desired, finished, render
from dslite_operator.distribution.distributor import Distributor
from dslite_operator.names import DRAIN, Ids, Key, child, path
from dslite_operator.observe import Cache, View, owned
from dslite_operator.plan import Annotate, Delete, PodView, Step, contains, plan
from dslite_operator.queue import Queue
from dslite_operator.render import LARGEST_TEXT, Rendered, spell
from dslite_operator.settings import Settings
from dslite_operator.signer import Signer
from dslite_operator.status import (
    Facts,
    Report,
    Said,
    events,
    ever_served,
    group_status,
    pool_status,
    ranges,
    served,
    troubled,
    unserved,
    without_numbers,
)

Object = dict[str, Any]
log = structlog.get_logger()

WORKERS = 8
LOOK_AGAIN_S, LOOK_SELDOM_S = 10.0, 60.0  # at pools whose pods answer, and at others
NUMBERS_S = 30.0  # between two writes of mere numbers
BACKOFF_S = (1.0, 60.0)


class Controller:
    """Brings every pool that the queue gives to where it should be.  `distributor` does what all pools share."""

    def __init__(self, writer: Writer, settings: Settings, session: aiohttp.ClientSession) -> None:
        self.cache, self.queue = Cache(), Queue()
        self._signer = Signer(settings.key)
        self.distributor = Distributor(self.cache, writer, settings, session, self._signer, self.queue.add)
        self.monitors = False  # whether the cluster knows ServiceMonitors
        self._writer, self._settings, self._session = writer, settings, session
        self._accepting = asyncio.Lock()
        self._finding = asyncio.Lock()
        self._unsought: set[Key] | None = None  # pools whose namespace lists no ConfigMaps; None: before all were asked
        self._judged: tuple[int, dict[Holder, tuple[Refused, ...]]] = (-1, {})
        self._histories: dict[str, autoscaler.History] = {}
        self._replicas_asked: dict[str, int] = {}
        self._numbers: dict[str, float] = {}
        self._failures: dict[Key, int] = {}
        self._secrets: set[str] = set()  # StatefulSets whose Secret this process has seen to
        self._clusters: dict[str, str] = {}  # UID of a pool → of its namespace

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self.queue.take()
            try:
                await self.reconcile(key)
                self._failures.pop(key, None)
            except Exception as error:  # one pool's trouble must not stop the others
                await self._fail(key, error)
            finally:
                self.queue.done(key)

    async def _fail(self, key: Key, error: Exception) -> None:
        """Try again; what fails again is said, the first time it may be a race with another writer."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        again = min(BACKOFF_S[0] * 2 ** min(failures, 10), BACKOFF_S[1])
        expected = isinstance(error, DsliteError)
        say, reason = (log.warning, str(error)) if expected else (log.exception, f"{error!r}: see the operator's log")
        say("pool not reconciled", pool=str(key), reason=reason, again_seconds=again)
        view, now = self.cache.view(key), timestamp()
        is_answered = not isinstance(error, ApiError) or error.status
        if failures > 1 and is_answered and view.pool is not None:
            for body in (view.pool, *view.groups):
                await self._set_status(body, troubled(body, reason, now))
        self.queue.add(key, again)

    # ------------------------------------------------------------ one pool
    async def reconcile(self, key: Key) -> None:
        """One look at a pool, and all that it takes."""
        await self._find_lost(key)
        view = self.cache.view(key)
        if view.pool is None:
            await self._orphans(view)
            return
        reports = await pods.reports(self._session, view.pods)
        if "deletionTimestamp" in view.pool["metadata"]:
            await self._finalize(view, view.pool, reports)
            return
        if view.earlier:
            left = ", ".join(f"{kind} {name}" for kind, name in view.earlier)
            raise DsliteError(
                f"an AftrPool {key} was deleted, this one waits until Kubernetes has removed what was its: {left}"
            )
        await self._prepare(view.pool, self.cache.running(view))
        rendered, proposal = await self._accept(view, reports)
        facts = self._facts(view, view.pool, rendered, proposal, reports)
        if rendered is not None:
            await self._carry_out(view, facts, rendered, proposal)
        await self._tell(view, view.pool, facts)
        self.queue.add(key, LOOK_AGAIN_S if any(one.said for one in reports) else LOOK_SELDOM_S)

    async def _prepare(self, pool: Object, running: Rendered | None) -> None:
        """Our finalizer, before there is anything to drain, and the release: what runs, where somebody took it out."""
        begun = pool["spec"].get("release") or (running.release.release if running else self._settings.release)
        if DRAIN not in pool["metadata"].get("finalizers", ()) or begun != pool["spec"].get("release"):
            self.cache.learn(await self._writer.begin(pool, begun))

    # ------------------------------------------------------------ what is in force
    async def _find_lost(self, key: Key) -> None:
        """Once: the ConfigMaps of pools that lost our label before this process began, so that no watch tells of them.

        Raises ApiError; a namespace that refuses keeps its own pools waiting alone.
        """
        async with self._finding:
            seek = self.cache.pools() if self._unsought is None else self._unsought & {key}
            refusals = dict(zip(seek, await asyncio.gather(*map(self._find_config_map, seek)), strict=True))
            self._unsought = (self._unsought or set()) - seek | {one for one, why in refusals.items() if why}
        if why := refusals.get(key):
            raise why

    async def _find_config_map(self, key: Key) -> ApiError | None:
        """That of one pool, if it is not known; why it may not be looked for."""
        view = self.cache.view(key)
        if view.pool is None or view.config_map is not None:
            return None
        try:
            found = await self._writer.list(
                "ConfigMap", key.namespace, {"fieldSelector": f"metadata.name={child(key.name, 'aftr')}"}
            )
        except ApiError as error:
            if error.status == FORBIDDEN:
                return error
            raise
        for body in found:
            if owned(body, view.pool["metadata"]["uid"]):
                self.cache.learn(body)
        return None

    async def _accept(self, view: View, reports: tuple[Report, ...]) -> tuple[Rendered | None, Proposal]:
        """Decide what is in force, and write it down before anybody else decides: one pool at a time."""
        asked: dict[str, int | str] = {}
        while True:
            async with self._accepting:
                view = self._again(view)
                running = self.cache.running(view)
                proposal = self._propose(view, running)
                text = spell(proposal.configuration) if proposal.configuration else None
                if running is None or text is None or text in (running.text, *asked) or len(text) > LARGEST_TEXT:
                    if running is not None and text in asked:
                        proposal = spare(running.configuration, proposal, asked[str(text)])
                    return await self._write_down(view, running, proposal)
            asked[text] = await self._lost(view, reports, text)

    async def _lost(self, view: View, reports: tuple[Report, ...], text: str) -> int | str:
        """How many live mappings another configuration would end, by the AFTRs' word; else why nobody knows."""
        assert view.pool is not None
        if silent := self._silent(view, view.pool, reports):
            return f"no AFTR that answers serves slots {ranges(silent)}, so nobody knows how many mappings it would end"
        found = await pods.lost(self._session, reports, text, self._signer.key_of(view.pool))
        if found is None:
            self._signer.doubt(view.pool)
            return "no AFTR could say how many mappings it would end"
        if await pods.moved_since(self._session, reports):
            return "slots were taken over while AFTRs counted, so nobody knows yet how many mappings it would end"
        return found

    def _again(self, view: View) -> View:
        """The pool as it is known now.  Raises DsliteError where it is gone: another of its name is to get nothing of it."""
        now = self.cache.view(view.key)
        if uid_of(now) != uid_of(view):
            raise DsliteError(f"AftrPool {view.key} was deleted while it was looked at")
        return now

    def _silent(self, view: View, pool: Object, reports: tuple[Report, ...]) -> list[int]:
        """Slots of which the store may have mappings that nobody counts.  Without a store they ended with their pod."""
        running = self.cache.rendered(view)
        kept = running is not None and running.configuration.pool.spec.store is not None
        return unserved(ever_served(pool), reports) if kept else []

    def _propose(self, view: View, running: Rendered | None) -> Proposal:
        assert view.pool is not None
        if self._judged[0] != self.cache.revision:
            self._judged = (self.cache.revision, judge(self.cache.accepted(), self.cache.wanted()))
        groups = [self.cache.asked(body) for body in view.groups]
        before = running.configuration if running else None
        return propose(view.key, before, self.cache.asked(view.pool), groups, self._judged[1])

    async def _write_down(
        self, view: View, running: Rendered | None, proposal: Proposal
    ) -> tuple[Rendered | None, Proposal]:
        """The ConfigMap, from which on its claims hold; what none can hold is refused."""
        if proposal.configuration is None or view.pool is None:
            return running, proposal
        release = view.pool.get("spec", {}).get("release", "")
        ids = await self._ids(view.key, view.pool["metadata"]["uid"])
        rendered = render(view.key, ids, running, proposal.configuration, release, self._settings)
        if len(rendered.text) > LARGEST_TEXT:
            line = (
                f"the configuration of pool {view.key} would have {len(rendered.text)} bytes: at most {LARGEST_TEXT}, "
                "use fewer or shorter B4Group prefixes"
            )
            before = running.configuration if running else None
            return running, turned_down(before, proposal, rendered.configuration, line)
        wish = self._wish(view, rendered, 0, "surge")
        wanted, current = finished(wish, config_map(wish)), view.config_map
        if current is None or not contains(current, wanted):
            self.cache.learn(await self._writer.apply(wanted))
        return rendered, proposal

    async def _ids(self, key: Key, uid: str) -> Ids:
        """The pool's ids.  Its namespace stands for the cluster: with roles in namespaces alone, kube-system cannot be read."""
        if uid not in self._clusters:
            found = await self._writer.call("GET", path("Namespace", None, key.namespace))
            self._clusters[uid] = found["metadata"]["uid"]
        return Ids(self._clusters[uid], uid)

    def _wish(self, view: View, rendered: Rendered, replicas: int, rollout: str) -> Wish:
        assert view.pool is not None
        monitors = self.monitors and self._settings.monitoring
        return Wish(view.key, view.pool["metadata"]["uid"], rendered, replicas, rollout, self._settings, monitors)

    # ------------------------------------------------------------ how many pods
    def _facts(
        self, view: View, pool: Object, rendered: Rendered | None, proposal: Proposal, reports: tuple[Report, ...]
    ) -> Facts:
        wanted, sentence = self._replicas(view, pool, proposal, reports)
        release = pool.get("spec", {}).get("release", "")
        generation = pool["metadata"]["generation"]
        stores = tuple(one for one in view.pods if pods.component_of(one) == "store")
        return Facts(
            view.key, generation, wanted, rendered, proposal.refusals, reports, release, sentence, proposal.kept, stores
        )

    def _replicas(self, view: View, pool: Object, proposal: Proposal, reports: tuple[Report, ...]) -> tuple[int, str]:
        """Pods that there should be, and why; a pool that may not have as many as it asks for keeps what it has."""
        deployment = view.children.get(("Deployment", child(view.key.name, "aftr")))
        before = pool.get("status", {}).get("wantedReplicas", 1)  # of one that is gone, or lost our label
        current = deployment["spec"].get("replicas", 1) if deployment else max(1, before, len(reports))
        model, in_force = self.cache.asked(pool).model, proposal.configuration
        wanted = scaled(in_force.pool, model) if in_force and isinstance(model, AftrPool) else None
        if wanted is None:
            return current, ""
        bounds = wanted.autoscaling
        if bounds is None:
            return wanted.replicas, ""
        if deployment is None:
            return autoscaler.clamp(max(wanted.replicas, current), bounds), ""
        now = time.monotonic()
        history = self._histories.setdefault(pool["metadata"]["uid"], autoscaler.History(now))
        decision = autoscaler.decide(now, current, uses(reports), bounds, history)
        return decision.replicas, f"autoscaling: {decision.sentence}"

    # ------------------------------------------------------------ objects
    async def _carry_out(self, view: View, facts: Facts, rendered: Rendered, proposal: Proposal) -> None:
        view = self._again(view)
        assert view.pool is not None
        model = self.cache.asked(view.pool).model
        rollout = model.spec.rollout if isinstance(model, AftrPool) else "surge"
        await self._store_secret(view, rendered)
        await self._key_secret(view, view.pool, rendered)
        wanted = desired(self._wish(view, rendered, facts.wanted, rollout))
        views = [
            PodView(
                one.name, one.pod["metadata"].get("annotations", {}), one.mappings, one.pod["spec"].get("nodeName", "")
            )
            for one in facts.reports
        ]
        for step in plan(wanted, view.children, views, rendered.config_hash):
            try:
                await self._take(view.key, step)
            except ApiError as error:
                if isinstance(step, Annotate) or step.object["kind"] != "ServiceMonitor":
                    raise
                log.warning(
                    "a ServiceMonitor stays as it is: no pool needs it to serve", pool=str(view.key), reason=str(error)
                )

    async def _take(self, key: Key, step: Step) -> None:
        """One step, known to the next decision."""
        found = await self._writer.carry_out(key, step)
        if isinstance(step, Delete):
            self.cache.drop(step.object)
        elif found is not None:
            self.cache.learn(found)

    async def _store_secret(self, view: View, rendered: Rendered) -> None:
        """The login of an embedded store, if there is none: the API server keeps the first one.

        That of a pool of this name that was deleted may still go: pods that wait are a reason to see to it once more.
        """
        stateful = view.children.get(("StatefulSet", child(view.key.name, "store")))
        uid = stateful["metadata"]["uid"] if stateful else ""
        known = uid in self._secrets and not any(map(pods.is_waiting, view.pods))
        if rendered.release.store is None or known:
            return
        await self._create(view, rendered, redis.secret(view.key, secrets.token_urlsafe(32)))
        self._secrets |= {uid} if uid else set()

    async def _key_secret(self, view: View, pool: Object, rendered: Rendered) -> None:
        """The key by which the AFTRs know our questions, if there is none yet; a pod that waits may wait for it."""
        value, uid = self._signer.key_of(pool), pool["metadata"]["uid"]
        if value and (uid not in self._signer.made or any(map(pods.is_waiting, view.pods))):
            await self._create(view, rendered, signer.secret(view.key, value))
            self._signer.made.add(uid)

    async def _create(self, view: View, rendered: Rendered, secret: Object) -> None:
        await self._writer.create(finished(self._wish(view, rendered, 0, "surge"), secret))

    async def _orphans(self, view: View) -> None:
        """B4Groups whose pool is not there."""
        for group in view.groups:
            owner = owner_name("B4Group", group["metadata"]["name"])
            lines = self.cache.asked(group).wrong or (f"spec.poolRef.name: AftrPool {view.key} does not exist",)
            facts = Facts(view.key, 0, 0, None, {owner: lines}, ())
            await self._set_status(group, group_status(facts, group, timestamp()))

    # ------------------------------------------------------------ the end of a pool
    async def _finalize(self, view: View, pool: Object, reports: tuple[Report, ...]) -> None:
        """Wait for the last mapping, `deletionDrainSeconds` at most; then let Kubernetes take everything."""
        if DRAIN not in pool["metadata"].get("finalizers", ()):
            return
        deleted = datetime.fromisoformat(pool["metadata"]["deletionTimestamp"])
        left = pool["spec"].get("deletionDrainSeconds", 600) - (datetime.now(UTC) - deleted).total_seconds()
        live, silent = [one.mappings for one in reports if one.started], self._silent(view, pool, reports)
        if left <= 0 or not (silent or any(number or number is None for number in live)):
            self.cache.learn(await self._writer.end(pool))
            return
        number = sum(number or 0 for number in live)
        unknown = f" and those of slots {ranges(silent)}, which no AFTR serves" if silent else ""
        sentence = f"the pool was deleted: {number} live mappings{unknown}, {left:.0f} s left to wait for their end"
        running = self.cache.rendered(view)
        generation = pool["metadata"]["generation"]
        deployment = view.children.get(("Deployment", child(view.key.name, "aftr")), {})
        wanted = deployment.get("spec", {}).get("replicas", len(reports))
        facts = Facts(view.key, generation, wanted, running, {}, reports, draining=(sentence,))
        await self._tell(view, pool, facts)
        self.queue.add(view.key, min(left, LOOK_AGAIN_S / 2))

    # ------------------------------------------------------------ what people see
    async def _tell(self, view: View, pool: Object, facts: Facts) -> None:
        self._again(view)
        now = timestamp()
        await self._say_if_ignored(pool)
        await self._set_status(pool, pool_status(facts, pool, now))
        for group in view.groups:
            await self._set_status(group, group_status(facts, group, now, self.distributor.said_of(group)))

    async def _say_if_ignored(self, pool: Object) -> None:
        """An Event for `kubectl scale` of a pool whose number of pods the autoscaler decides."""
        spec, uid = pool["spec"], pool["metadata"]["uid"]
        asked, before = spec.get("replicas"), self._replicas_asked.get(uid)
        if before not in (None, asked) and "autoscaling" in spec:
            sentence = (
                f"spec.replicas {asked} has no effect beside spec.autoscaling: change minReplicas or maxReplicas there"
            )
            await self._writer.say(pool, [Said("Warning", "ReplicasIgnored", sentence)])
        self._replicas_asked[uid] = asked

    async def _set_status(self, body: Object, status: Object) -> None:
        """Write a status that says something new, with its events; mere numbers only now and then."""
        before, uid, now = body.get("status", {}), body["metadata"]["uid"], time.monotonic()
        if contains(before, status):
            return
        if contains(without_numbers(before), without_numbers(status)) and now - self._numbers.get(uid, 0) < NUMBERS_S:
            return
        self._numbers[uid] = now
        try:
            await self._writer.say(body, events(body, status))
            self.cache.learn(await self._writer.status(body, status))
        except ApiError as error:
            log.warning("status not written", object=body["metadata"]["name"], reason=str(error))


def uses(reports: Sequence[Report]) -> list[autoscaler.Use]:
    """How busy the pods are that say so."""
    found = []
    for one in reports:
        if one.said is None or not one.ready or not one.said["workers"]:
            continue
        busy = [worker["utilisation"] for worker in one.said["workers"]]
        share = one.said["portUtilisation"] if served(one.said) else 0.0
        found.append(autoscaler.Use(sum(busy) / len(busy), share))
    return found


def uid_of(view: View) -> str:
    """The pool's; that of none is empty."""
    return str(view.pool["metadata"]["uid"]) if view.pool else ""


def timestamp() -> str:
    """Now, as the API spells it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
