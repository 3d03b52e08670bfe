"""What there is: a copy of all objects that concern us, as the watches tell, and what each pool finds in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from dslite_contract.errors import ConfigurationError, Problem
from dslite_contract.load import validate
from dslite_contract.schema import AftrPool, B4Group
from dslite_contract.yaml_text import parse_documents
from dslite_operator.accept import Asked
from dslite_operator.claims import Claim, Holder, Wanted, group_claims, pool_claims
from dslite_operator.desired import is_edited
from dslite_operator.names import CHILDREN, POOL_LABEL, Key, child
from dslite_operator.plan import Name
from dslite_operator.pod_template import CONFIG_FILE
from dslite_operator.render import Rendered, RenderedError, read

Object = dict[str, Any]
Place = tuple[str, str]  # namespace and name

MODELS: dict[str, type[AftrPool] | type[B4Group]] = {"AftrPool": AftrPool, "B4Group": B4Group}
CLAIMING = ("AftrPool", "B4Group", "ConfigMap")
FORGOTTEN = 4096  # objects that went and are remembered, against news that come late


def place_of(body: Object) -> Place:
    """Namespace and name."""
    return body["metadata"]["namespace"], body["metadata"]["name"]


def version_of(body: Object) -> int:
    """Resource versions of one kind compare as numbers (Kubernetes 1.35 says so)."""
    return int(body["metadata"]["resourceVersion"])


def key_of(body: Object) -> Key | None:
    """The pool that an object belongs to; of a B4Group that names none, one that there never is."""
    namespace, name = place_of(body)
    if body["kind"] == "AftrPool":
        return Key(namespace, name)
    if body["kind"] == "B4Group":
        reference = body.get("spec", {}).get("poolRef")
        pool = reference.get("name") if isinstance(reference, dict) else None
        return Key(namespace, pool if isinstance(pool, str) else "")
    pool = body["metadata"].get("labels", {}).get(POOL_LABEL)
    return Key(namespace, pool) if pool else None


@dataclass(frozen=True)
class View:
    """A pool and all that belongs to it."""

    key: Key
    pool: Object | None
    groups: tuple[Object, ...]
    children: Mapping[Name, Object]
    pods: tuple[Object, ...]
    earlier: tuple[Name, ...] = ()  # what a pool of this name had that was deleted

    @property
    def config_map(self) -> Object | None:
        """The pool's ConfigMap."""
        return self.children.get(("ConfigMap", child(self.key.name, "aftr")))


@dataclass(frozen=True)
class Stored:
    """What a pool's ConfigMap says, or said when it could be read last (`rendered` is None where it never could), and its claims."""

    rendered: Rendered | None
    claims: Mapping[Holder, list[Claim]]


@dataclass
class Cache:
    """Objects by kind and place.  What we wrote is put in at once, so that the next decision knows of it."""

    revision: int = 0  # grows with whatever bears on claims
    _kinds: dict[str, dict[Place, Object]] = field(default_factory=dict)
    _mine: dict[Key, dict[tuple[str, Place], Object]] = field(default_factory=dict)
    _gone: dict[str, int] = field(default_factory=dict)  # by uid, the version at which it went
    _asked: dict[str, tuple[object, Asked, tuple[Claim, ...]]] = field(default_factory=dict)
    _stored: dict[str, Stored] = field(default_factory=dict)  # by uid of the pool, also while its ConfigMap is gone

    def put(self, body: Object) -> bool:
        """Take a version of an object, unless a newer one of its name is known, or its end after it; whether it was taken."""
        if self.saw_the_end_of(body):
            return False
        known = self._kinds.setdefault(body["kind"], {})
        before = known.get(place_of(body))
        if before is not None and version_of(before) >= version_of(body):
            return False
        if before is not None:
            self._forget(before)
        known[place_of(body)] = body
        key = key_of(body)
        if key is not None:
            self._mine.setdefault(key, {})[body["kind"], place_of(body)] = body
        self.revision += body["kind"] in CLAIMING and (before is None or claiming(before) != claiming(body))
        self._remember(body)
        return True

    def learn(self, body: Object) -> Object:
        """Take what the API server answered to a write of ours; the same object."""
        metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
        self.put({**body, "metadata": metadata})
        return body

    def _forget(self, body: Object) -> None:
        """Take a version of an object out."""
        self._kinds[body["kind"]].pop(place_of(body), None)
        key = key_of(body)
        if key is not None and key in self._mine:
            self._mine[key].pop((body["kind"], place_of(body)), None)
            if not self._mine[key]:
                del self._mine[key]

    def drop(self, body: Object) -> None:
        """An object was deleted, or lost the label by which it is watched: then a newer version of it may come again."""
        uid = body["metadata"]["uid"]
        self._gone[uid] = max(version_of(body), self._gone.get(uid, 0))
        if len(self._gone) > FORGOTTEN:
            self._gone.pop(next(iter(self._gone)))
        known = self._kinds.get(body["kind"], {}).get(place_of(body))
        if known is not None and known["metadata"]["uid"] == uid and version_of(known) <= version_of(body):
            self._forget(known)
            self.revision += body["kind"] in CLAIMING
        self._asked.pop(uid, None)

    def saw_the_end_of(self, body: Object) -> bool:
        """Whether an object went at this version of it, or later."""
        return version_of(body) <= self._gone.get(body["metadata"]["uid"], -1)

    def every(self, kind: str) -> Iterable[Object]:
        """All objects of a kind."""
        return list(self._kinds.get(kind, {}).values())

    def pools(self) -> set[Key]:
        """All pools that there are."""
        return {Key(*place) for place in self._kinds.get("AftrPool", {})}

    def view(self, key: Key) -> View:
        """What belongs to a pool."""
        mine = list(self._mine.get(key, {}).values())
        pool = next((body for body in mine if body["kind"] == "AftrPool"), None)
        uid = pool["metadata"]["uid"] if pool else ""
        groups = sorted((body for body in mine if body["kind"] == "B4Group"), key=place_of)
        children = {(body["kind"], body["metadata"]["name"]): body for body in mine if owned(body, uid)}
        pods = sorted((body for body in mine if body["kind"] == "Pod"), key=place_of)
        earlier = sorted((body["kind"], body["metadata"]["name"]) for body in mine if of_another(body, uid))
        return View(key, pool, tuple(groups), children, tuple(pods), tuple(earlier))

    # ------------------------------------------------------------ read once for each version
    def asked(self, body: Object) -> Asked:
        """An object as a model, or what is wrong with it."""
        return self._read(body)[1]

    def _read(self, body: Object) -> tuple[object, Asked, tuple[Claim, ...]]:
        uid, version = body["metadata"]["uid"], claiming(body)
        known = self._asked.get(uid)
        if known is None or known[0] != version:
            asked = read_asked(body)
            known = self._asked[uid] = (version, asked, tuple(claims_of(asked.model)))
        return known

    def _remember(self, body: Object) -> None:
        """What a pool's ConfigMap says; one that cannot be read any more, or that somebody edited, says what it said."""
        owner, key = pool_that_made(body), key_of(body)
        if body["kind"] != "ConfigMap" or owner is None:
            return
        known = self._stored.get(owner)
        is_new = known is None or known.rendered is None
        try:
            found = read(body)
        except RenderedError:
            if is_new:
                self._stored[owner] = Stored(None, held(body, readable(body)))
        else:
            if is_new or (key is not None and not is_edited(body, key)):
                self._stored[owner] = Stored(found, held(body, (found.configuration.pool, *found.configuration.groups)))

    def rendered(self, view: View) -> Rendered | None:
        """What is in force for a pool; None for nothing, and where its ConfigMap never could be read."""
        known = self._stored.get(view.pool["metadata"]["uid"]) if view.pool else None
        return known.rendered if known else None

    def running(self, view: View) -> Rendered | None:
        """The same; raises RenderedError where it cannot be read: a pool that runs is not accepted as though it were new."""
        found = self.rendered(view)
        return read(view.config_map) if found is None and view.config_map is not None else found

    # ------------------------------------------------------------ claims
    def accepted(self) -> dict[Holder, list[Claim]]:
        """What pools hold by their ConfigMaps: until both the pool and its ConfigMap are gone."""
        there = {body["metadata"]["uid"] for body in self.every("AftrPool")}
        there |= {pool_that_made(body) for body in self.every("ConfigMap")}
        self._stored = {uid: one for uid, one in self._stored.items() if uid in there}
        found: dict[Holder, list[Claim]] = {}
        for one in self._stored.values():
            for holder, claims in one.claims.items():  # a group that went to another pool may be in force in both
                found.setdefault(holder, []).extend(claims)
        return found

    def wanted(self) -> Iterator[Wanted]:
        """What objects ask for."""
        for kind in MODELS:
            for body in self.every(kind):
                _, asked, claims = self._read(body)
                created = body["metadata"]["creationTimestamp"]
                yield Wanted(Holder(kind, *place_of(body)), created, claims, wrong=asked.model is None)


def claiming(body: Object) -> object:
    """What of an object bears on its claims: nothing that a new status changes.  One that is made anew has generation 1 again."""
    its = body.get("data") if body["kind"] == "ConfigMap" else body["metadata"]["generation"]
    return body["metadata"]["uid"], its


def claims_of(model: AftrPool | B4Group | None) -> Iterator[Claim]:
    """What one object asks for."""
    if isinstance(model, AftrPool):
        yield from pool_claims(model)
    elif isinstance(model, B4Group):
        yield from group_claims(model)


def held(config_map: Object, models: Iterable[AftrPool | B4Group]) -> dict[Holder, list[Claim]]:
    """What the objects in one ConfigMap hold."""
    namespace, _ = place_of(config_map)
    return {Holder(type(one).__name__, namespace, one.metadata.name): list(claims_of(one)) for one in models}


def readable(config_map: Object) -> Iterator[AftrPool | B4Group]:
    """The objects in a ConfigMap that can be read, whatever else the release that wrote them knows."""
    with suppress(ConfigurationError):
        for document in parse_documents(config_map.get("data", {}).get(CONFIG_FILE, "")):
            model = MODELS.get(str(document.get("kind"))) if isinstance(document, dict) else None
            with suppress(ValidationError):
                if model:
                    yield model.model_validate(document, extra="ignore", by_alias=True, by_name=False)


def pool_that_made(body: Object) -> str | None:
    """The UID of the AftrPool that owns an object."""
    owners = body["metadata"].get("ownerReferences", ())
    return next((owner["uid"] for owner in owners if owner["kind"] == "AftrPool"), None)


def owned(body: Object, uid: str) -> bool:
    """Whether this pool made an object, and not an earlier one of its name."""
    return any(owner.get("uid") == uid for owner in body["metadata"].get("ownerReferences", ()))


def of_another(body: Object, uid: str) -> bool:
    """Whether an earlier pool of its name made an object; of kinds that are watched, others may be gone."""
    return body["kind"] in CHILDREN and pool_that_made(body) not in (None, uid)


def read_asked(body: Object) -> Asked:
    """An object as the contract reads it: spec, and of its metadata the name and the namespace."""
    namespace, name = place_of(body)
    document = {
        "apiVersion": body["apiVersion"], "kind": body["kind"],
        "metadata": {"name": name, "namespace": namespace}, "spec": body.get("spec"),
    }  # fmt: skip
    problems: list[Problem] = []
    found = validate(MODELS[body["kind"]], "", document, problems)
    return Asked(name, found[0] if found else None, tuple(problem.line for problem in problems))
