"""What is done to a pool while its customers download: no TCP transfer breaks, and no binding is lost."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from installed_pool import Object, Pool, is_answered, until
from running_cluster import Cluster, dslite_cluster
from running_lab import ROOT, Lab
from under_load import routed_to, under_load

pytestmark = pytest.mark.cluster

OLD, NEW = version("dslite-operator"), "99.0.0"
NO_IMAGE = re.compile("east-store-0: (ErrImagePull|ImagePullBackOff)")
IMAGES = ("ghcr.io/dslite/aftr", "ghcr.io/dslite/operator")


def test_scale_from_two_to_four_and_back(outside: Lab, pool: Pool) -> None:
    pool.scale(2)
    with under_load(outside) as load:
        load.during(lambda: pool.scale(4))
        routed_to(load, 4)
        load.during(lambda: pool.scale(2))
        routed_to(load, 2)


def test_a_pod_is_deleted_by_force(outside: Lab, pool: Pool) -> None:
    with under_load(outside) as load:
        load.during(pool.strike)
    pool.forget()


def test_an_aftr_that_is_told_to_end_does_so_by_itself_within_its_grace(outside: Lab, pool: Pool) -> None:
    """As a kubelet tells it: its slots go to others first. Its container is started again, in the same pod."""
    pod = pool.pods()[0]
    before, asked = ended(pool, pod), list[datetime]()

    def end() -> None:
        asked.append(datetime.now(UTC).replace(microsecond=0))
        pool.cluster.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", "kill -TERM 1")
        until(lambda: ended(pool, pod) != before, "it has ended")
        pool.settle()

    with under_load(outside) as load:
        load.during(end)
    last = ended(pool, pod)
    assert last["exitCode"] == 0
    took = datetime.fromisoformat(last["finishedAt"]) - asked[0]
    print(f"it has ended after {took.seconds} s")
    assert took <= timedelta(seconds=pod["spec"]["terminationGracePeriodSeconds"])


def ended(pool: Pool, pod: Object) -> Object:
    """How the container of a pod ended last; {} for one that has not."""
    found: Object = pool.cluster.get("pod", pod["metadata"]["name"])["status"]["containerStatuses"][0]["lastState"]
    return dict(found.get("terminated", {}))


def test_a_node_is_drained(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    """The one without the Redis, whose volume is of its node."""
    store = pool.node_of_the_store()
    (node,) = set(cluster.nodes) - {store}
    pool.scale(2)

    def drain() -> None:
        cluster.shell(f"kubectl dslite drain node {node}")
        until(lambda: {pod["spec"]["nodeName"] for pod in pool.pods()} == {store}, f"no AFTR is on {node}")
        pool.settle()

    try:
        with under_load(outside) as load:
            load.during(drain)
    finally:
        cluster.kubectl("uncordon", node)


def test_the_api_server_is_killed_and_started_again(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    before = pool.uids()

    def kill_and_start() -> None:
        for what in ("kill", "start"):
            done = dslite_cluster(cluster.name, what, "kube-apiserver")
            assert done.returncode == 0, done.stderr
        pool.settle()

    with under_load(outside) as load:
        load.during(kill_and_start)
    assert pool.uids() == before


# ---------------------------------------------------------------- releases
def test_a_newer_operator_replaces_no_pod(cluster: Cluster, outside: Lab, pool: Pool, tmp_path: Path) -> None:
    """The chart of a next release: the same bits under another tag.  `tests/chart/test_upgrade.py` has two that differ."""
    for image in IMAGES:
        for node in cluster.nodes:
            cluster.run(node, "ctr", "--namespace", "k8s.io", "images", "tag", f"{image}:{OLD}", f"{image}:{NEW}")
    cluster.shell(f"helm package {ROOT}/charts/dslite --version {NEW} --app-version {NEW} --destination {tmp_path}")
    before = pool.uids()

    def upgrade() -> None:
        cluster.shell(
            f"helm upgrade dslite {tmp_path}/dslite-{NEW}.tgz --namespace dslite --reset-then-reuse-values --wait"
        )
        cluster.shell("helm test dslite --namespace dslite")
        pool.settle()

    with under_load(outside) as load:
        load.during(upgrade)
    assert pool.uids() == before
    assert images(pool) == {f"{IMAGES[0]}:{OLD}"}


def images(pool: Pool) -> set[str]:
    """What its AFTRs run."""
    return {pod["spec"]["containers"][0]["image"] for pod in pool.pods()}


@pytest.mark.parametrize("rollout", ["surge", "inPlace"])
def test_a_pool_takes_the_next_release(rollout: str, outside: Lab, pool: Pool) -> None:
    """There and, with the operator of before, back again."""
    release = NEW if rollout == "surge" else OLD
    before = pool.uids()

    def upgrade() -> None:
        if release == OLD:
            pool.cluster.shell("helm rollback dslite --namespace dslite --wait")
        pool.patch(rollout=rollout)
        pool.cluster.shell(f"kubectl dslite upgrade {pool.name} --release {release}")
        until(lambda: images(pool) == {f"{IMAGES[0]}:{release}"}, f"all pods run {release}")
        pool.settle()

    with under_load(outside) as load:
        load.during(upgrade)
    assert not before.keys() & pool.uids().keys()
    is_answered(pool.cluster)


def test_an_upgrade_to_an_image_that_is_nowhere_is_turned_round(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    """The Redis is replaced first, and does not start: AFTRs stay as they are, and serve. Then the way back, as the runbook has it."""
    before = pool.uids()

    def there_and_back() -> None:
        chart = "helm upgrade dslite charts/dslite --namespace dslite --reset-then-reuse-values --wait"
        cluster.shell(f"{chart} --set image.aftr.tag=nowhere")
        cluster.shell(f"kubectl dslite upgrade {pool.name} --release nowhere")
        until(lambda: bool(NO_IMAGE.search(pool.conditions().get("StoreReachable=False", ""))), "it says why")
        cluster.shell("helm rollback dslite --namespace dslite --wait")
        cluster.shell(f"kubectl dslite upgrade {pool.name} --release {OLD}")
        pool.settle()

    with under_load(outside) as load:
        load.during(there_and_back)
    assert pool.uids() == before
