"""The control plane: etcd, API server, controllers, scheduler, DNS, in a network namespace of their own."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from dslite_cluster.authority import Authority, new_key
from dslite_cluster.binaries import binary
from dslite_cluster.plan import API_PORT, LINKS, PLANE_HOST, PODS, SERVICES, Plan, api_names
from dslite_cluster.record import Record

INSIDE = f"https://{LINKS[0][PLANE_HOST]}:{API_PORT}"  # for nodes and controllers
CLIENTS = {  # file: user
    "controllers": "system:kube-controller-manager",
    "scheduler": "system:kube-scheduler",
    "coredns": "coredns",
}
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns", "haproxy")


def write_plane(plan: Plan, record: Record) -> Authority:
    """Certificates and configuration of the control plane, and the kubeconfig for people. Returns who signs those of the nodes."""
    folder = record.plane
    authority = Authority.make(folder)
    authority.issue("apiserver", "kube-apiserver", hosts=api_names())
    authority.issue("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    authority.issue("front-proxy", "front-proxy-client")
    new_key(folder / "service-accounts.key")
    for file, user in CLIENTS.items():
        authority.kubeconfig(folder / f"{file}.kubeconfig", INSIDE, user)
    authority.kubeconfig(record.kubeconfig, f"https://127.0.0.1:{plan.port}", "admin", "system:masters")
    _write(folder / "Corefile", {"{kubeconfig}": str(folder / "coredns.kubeconfig")})
    namespace = plan.namespace("plane")
    _write(folder / "haproxy.cfg", {"{port}": str(plan.port), "{api_port}": str(API_PORT), "{namespace}": namespace})
    return authority


def _write(target: Path, values: Mapping[str, str]) -> None:
    text = (files("dslite_cluster") / "files" / target.name).read_text()
    for word, value in values.items():
        text = text.replace(word, value)
    target.write_text(text)


def plane_command(program: str, record: Record) -> list[str]:
    """How one of `PROGRAMS` is started."""
    if program == "haproxy":
        return ["haproxy", "-db", "-f", str(record.plane / "haproxy.cfg")]
    options = _OPTIONS[program](record.plane)
    return [str(binary(program)), *(f"--{name}={value}" for name, value in options.items())]


def _etcd(folder: Path) -> dict[str, object]:
    return {
        "data-dir": folder / "etcd",
        "unsafe-no-fsync": "true",  # it is gone with the cluster
        "log-level": "warn",
    }


def _apiserver(folder: Path) -> dict[str, object]:
    authority = folder / "ca.crt"
    return {
        "etcd-servers": "http://127.0.0.1:2379",
        "advertise-address": LINKS[0][PLANE_HOST],
        "secure-port": API_PORT,
        "service-cluster-ip-range": _joined(SERVICES),
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "client-ca-file": authority,
        "tls-cert-file": folder / "apiserver.crt",
        "tls-private-key-file": folder / "apiserver.key",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": folder / "service-accounts.key",
        "service-account-signing-key-file": folder / "service-accounts.key",
        "kubelet-certificate-authority": authority,
        "kubelet-client-certificate": folder / "kubelet-client.crt",
        "kubelet-client-key": folder / "kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP",
        # for API servers of others, such as prometheus-adapter
        "enable-aggregator-routing": "true",
        "proxy-client-cert-file": folder / "front-proxy.crt",
        "proxy-client-key-file": folder / "front-proxy.key",
        "requestheader-client-ca-file": authority,
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
    }


def _controllers(folder: Path) -> dict[str, object]:
    return {
        "kubeconfig": folder / "controllers.kubeconfig",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": folder / "service-accounts.key",
        "root-ca-file": folder / "ca.crt",
        "cluster-cidr": _joined(PODS),
        "service-cluster-ip-range": _joined(SERVICES),
        "leader-elect": "false",  # there is one
    }


def _scheduler(folder: Path) -> dict[str, object]:
    return {"kubeconfig": folder / "scheduler.kubeconfig", "leader-elect": "false"}


def _coredns(folder: Path) -> dict[str, object]:
    return {"conf": folder / "Corefile"}


_OPTIONS = {
    "etcd": _etcd,
    "kube-apiserver": _apiserver,
    "kube-controller-manager": _controllers,
    "kube-scheduler": _scheduler,
    "coredns": _coredns,
}


def _joined(networks: tuple[object, ...]) -> str:
    return ",".join(map(str, networks))
