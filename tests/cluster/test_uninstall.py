"""The end: an operator that is uninstalled leaves pools and their traffic; a pool that is deleted goes with all that was its."""

from __future__ import annotations

import pytest

from installed_pool import SAMPLE, Pool, is_answered, quick_start, until
from running_cluster import Cluster
from running_lab import Lab
from under_load import under_load

pytestmark = pytest.mark.cluster

LABEL = "app.kubernetes.io/instance=dslite"
LEASE = "dslite-operator"  # the operator's own, which no chart makes
OURS = "deployment,configmap,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,networkpolicy,pod"
CHILDREN = "configmap,service,deployment,statefulset,poddisruptionbudget,networkpolicy,secret,pod"
ADOPTED_S = 300.0  # members of before are silent, and all pods are replaced


def test_uninstalled_and_installed_again_under_traffic(cluster: Cluster, outside: Lab, pool: Pool) -> None:
    before, key = pool.uids(), installations_key(cluster)

    def uninstall_and_install() -> None:
        cluster.shell("helm uninstall dslite --namespace dslite --wait")
        until(lambda: cluster.get(OURS, "-A", "-l", LABEL)["items"] == [], "all of the operator is gone")
        assert {"aftrpools.dslite.dev", "b4groups.dslite.dev"} <= {
            one["metadata"]["name"] for one in cluster.get("crd")["items"]
        }
        assert [one["metadata"]["name"] for one in cluster.get("lease", "--namespace", "dslite")["items"]] == [LEASE]
        cluster.shell(quick_start()[0])
        pool.settle()

    with under_load(outside) as load:
        load.during(uninstall_and_install)
    assert pool.uids() == before
    assert installations_key(cluster) == key
    is_answered(cluster)


def installations_key(cluster: Cluster) -> str:
    return str(cluster.get("secret", "dslite-operator-key", "--namespace", "dslite")["data"]["key"])


def test_a_deleted_pool_waits_for_its_mappings(cluster: Cluster, pool: Pool) -> None:
    """The mappings of the test before are live: no longer than `deletionDrainSeconds`."""
    pool.patch(deletionDrainSeconds=20)
    cluster.kubectl("delete", "aftr", pool.name, "--wait=false")
    until(lambda: "live mappings" in pool.conditions().get("Draining=True", ""), "it waits")
    assert pool.pods()
    until(lambda: cluster.get("aftr")["items"] == [], "the pool is gone")


def test_one_that_is_made_again_at_once_says_whose_its_store_is(cluster: Cluster, pool: Pool) -> None:
    """Once Kubernetes has removed what was the first one's.  The volume stays: a person says what becomes of it."""
    cluster.kubectl("apply", "-f", str(SAMPLE))
    store = ("StoreReachable=False", "belongs to pool")
    until(lambda: store[1] in pool.conditions().get(store[0], ""), "it says so", ADOPTED_S)
    pool.patch(store={"embedded": {}, "adopt": True})
    pool.settle(ADOPTED_S)


def test_a_pool_goes_with_all_that_was_its_but_the_volume(cluster: Cluster, pool: Pool) -> None:
    pool.patch(deletionDrainSeconds=1)
    cluster.kubectl("delete", "aftr", pool.name)
    until(lambda: cluster.get(CHILDREN, "-l", "dslite.dev/pool=east")["items"] == [], "all that was its is gone")
    assert [one["metadata"]["name"] for one in cluster.get("pvc")["items"]] == ["data-east-store-0"]
