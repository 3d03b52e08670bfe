"""Prometheus and prometheus-adapter beside a cluster's control plane: metrics of pods at its API server, for a HorizontalPodAutoscaler."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from aftr_lab.record import write_whole
from dslite_cluster.binaries import binary, build_binaries
from dslite_cluster.controlplane import INSIDE
from dslite_cluster.plan import plane_addresses
from dslite_operator.names import STATUS_PORT
from installed_pool import until
from running_cluster import DSLITE_CLUSTER, Cluster
from running_lab import ROOT

SAMPLES = ROOT / "samples" / "kubernetes"
ADAPTER_PORT, PROMETHEUS, TARGETS = 6444, "http://127.0.0.1:9090", "targets.yaml"
SERVED_S = 90.0
NAME, NAMESPACE = "prometheus-adapter", "kube-system"
GROUP = "custom.metrics.k8s.io"
LOOK_S = 2.0
AFTRS = (
    "pods",
    "--all-namespaces",
    "--selector=app.kubernetes.io/component=aftr",
    "--field-selector=status.phase=Running",
)
Object = dict[str, Any]


@contextmanager
def metrics_at_the_api_server(cluster: Cluster, folder: Path) -> Iterator[None]:
    """For the time of the block."""
    build_binaries(print, ("prometheus-adapter",))
    kubeconfig = inside(cluster, folder)
    objects = yaml.safe_dump_all([service(), endpoints(), api_service(), role(), binding()])
    with ExitStack() as programs:
        programs.enter_context(pods_listed(cluster, folder / TARGETS))
        for command in prometheus(folder), adapter(folder, kubeconfig):
            programs.enter_context(running(cluster, folder, command))
        cluster.kubectl("apply", "--filename=-", stdin=objects)
        programs.callback(cluster.kubectl, "delete", "--filename=-", stdin=objects)
        ready = (
            "get",
            "apiservice",
            f"v1beta1.{GROUP}",
            "-o",
            "jsonpath={.status.conditions[?(@.type=='Available')].status}",
        )
        until(lambda: cluster.kubectl(*ready) == "True", "the API server knows its metrics", SERVED_S)
        yield


def inside(cluster: Cluster, folder: Path) -> Path:
    """A kubeconfig for programs in the control plane's network."""
    document = yaml.safe_load(Path(cluster.kubeconfig).read_text())
    document["clusters"][0]["cluster"]["server"] = INSIDE
    return written(folder / "kubeconfig", document)


def written(file: Path, document: Any) -> Path:
    """Whole at any time."""
    write_whole(file, yaml.safe_dump(document))
    return file


@contextmanager
def running(cluster: Cluster, folder: Path, command: list[str]) -> Iterator[None]:
    """A program in the control plane's network for the time of the block."""
    whole = [str(DSLITE_CLUSTER), "--cluster", cluster.name, "exec", "plane", "--", *command]
    with (
        (folder / f"{Path(command[0]).name}.log").open("wb") as log,
        subprocess.Popen(whole, stdout=log, stderr=log) as program,
    ):
        try:
            yield
        finally:
            program.terminate()


@contextmanager
def pods_listed(cluster: Cluster, file: Path) -> Iterator[None]:
    """The status ports of all AFTRs in a file for Prometheus: Debian's was built without a discovery in Kubernetes."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(LOOK_S):
            written(file, [target(pod) for pod in cluster.get(*AFTRS)["items"]])

    written(file, [])
    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def target(pod: Object) -> Object:
    labels = {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}
    return {"targets": [f"{pod['status']['podIP']}:{STATUS_PORT}"], "labels": labels}


# ---------------------------------------------------------------- programs
def prometheus(folder: Path) -> list[str]:
    """It asks each AFTR every two seconds."""
    job = {"job_name": "aftr", "scrape_interval": "2s", "file_sd_configs": [{"files": [str(folder / TARGETS)]}]}
    file = written(folder / "prometheus.yaml", {"scrape_configs": [job]})
    listen = PROMETHEUS.removeprefix("http://")
    return [
        "prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'series'}", f"--web.listen-address={listen}"
    ]  # fmt: skip


def adapter(folder: Path, kubeconfig: Path) -> list[str]:
    """With the rules of the sample."""
    values = yaml.safe_load((SAMPLES / "prometheus-adapter.yaml").read_text())
    rules = written(folder / "rules.yaml", {"rules": values["rules"]["custom"]})
    access = ("lister", "authentication", "authorization")
    return [
        str(binary("prometheus-adapter")), f"--prometheus-url={PROMETHEUS}", f"--config={rules}", "--metrics-relist-interval=10s",
        f"--secure-port={ADAPTER_PORT}", f"--cert-dir={folder}", *(f"--{what}-kubeconfig={kubeconfig}" for what in access),
    ]  # fmt: skip


# ---------------------------------------------------------------- objects
def service() -> Object:
    """Without a selector: what answers is no pod."""
    ports = [{"port": 443, "targetPort": ADAPTER_PORT}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(), "spec": {"ports": ports}}


def endpoints() -> Object:
    labels = {"kubernetes.io/service-name": NAME}
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {**metadata(), "labels": labels},
        "addressType": "IPv4", "ports": [{"name": "", "port": ADAPTER_PORT}],
        "endpoints": [{"addresses": [str(plane_addresses()[0].ip)]}],
    }  # fmt: skip


def metadata() -> Object:
    return {"name": NAME, "namespace": NAMESPACE}


def api_service() -> Object:
    spec = {
        "group": GROUP, "version": "v1beta1", "service": metadata(), "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100, "versionPriority": 100,
    }  # fmt: skip
    return {
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": f"v1beta1.{GROUP}"}, "spec": spec
    }  # fmt: skip


def role() -> Object:
    rules = [{"apiGroups": [GROUP], "resources": ["*"], "verbs": ["get", "list"]}]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": NAME},
        "rules": rules,
    }


def binding() -> Object:
    """For the controller of HorizontalPodAutoscalers."""
    subject = {"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME}, "subjects": [subject],
    }  # fmt: skip
