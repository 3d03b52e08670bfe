"""A node: a machine made of namespaces, with kubelet, containerd, kube-proxy and CNI as on any other.

Its programs live in namespaces of their own for processes, mounts, names and network, below a first process (`files/node-init.sh`). Its
/var/lib and /var/log are folders of the record, its /run is in memory: nothing is seen, or left, outside.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from aftr_lab.network import End, add_link, add_namespace, add_route
from aftr_lab.plan import ACCESS_LINK
from aftr_lab.processes import is_running, recorded
from dslite_cluster.authority import Authority
from dslite_cluster.binaries import FAMILIES, binary
from dslite_cluster.controlplane import INSIDE
from dslite_cluster.errors import ClusterError
from dslite_cluster.plan import DOMAIN, LINKS, MTU, PLANE_HOST, PODS, SIDES, Node, Plan, router_addresses
from dslite_cluster.record import Record
from dslite_cluster.volumes import volume_folders

HERE = Path("/var/lib/dslite")  # configuration, as the node sees it
PROGRAMS = ("containerd", "kubelet", "kube-proxy")
HEALTH = {"kubelet": "http://127.0.0.1:10248/healthz", "kube-proxy": "http://127.0.0.1:10256/livez"}
FORWARDING = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}
NAMESPACES = ("--mount", "--pid", "--ipc", "--uts")


# ---------------------------------------------------------------- network
def add_node_network(plan: Plan, node: Node) -> None:
    """The node's namespace: its link to the control plane and the outside's router, and the devices that pods may have."""
    name, plane = plan.namespace(node.name), plan.namespace("plane")
    add_namespace(name, FORWARDING)
    add_link(End(name, "eth0", node.addresses), End(plane, node.name, bridge="nodes"), MTU)
    add_route(name, str(ACCESS_LINK), gateway=str(router_addresses()[1].ip))  # where the provider's servers are
    for side in SIDES:
        for number in range(plan.devices):
            port = End(plan.namespace("fabric"), f"{node.number}-{side}{number}", bridge=side)
            add_link(End(name, f"{side}{number}"), port, MTU)


def add_pod_routes(plan: Plan, namespace: str, own: Node | None = None) -> None:
    """To the pods of every node but `own`, by the nodes."""
    for node in plan.nodes:
        if node != own:
            for subnet, address in zip(node.pods, node.addresses, strict=True):
                add_route(namespace, str(subnet), gateway=str(address.ip))


# ---------------------------------------------------------------- disk
def write_disk(record: Record, node: Node, authority: Authority) -> None:
    """What the node's programs read, on its disk."""
    disk = record.disk(node)
    for folder in ("log", "lib/kubelet", "lib/containerd", "lib/dslite/cni/bin", "lib/dslite/cni/net.d"):
        (disk / folder).mkdir(parents=True)
    home = disk / "lib" / "dslite"
    user = f"system:node:{node.name}"
    authority.kubeconfig(home / "kubelet.kubeconfig", INSIDE, user, "system:nodes")
    authority.kubeconfig(home / "multus.kubeconfig", INSIDE, "multus")
    authority.kubeconfig(home / "kube-proxy.kubeconfig", INSIDE, "system:kube-proxy")
    hosts = [node.name, *(address.ip for address in node.addresses)]
    for file in (authority.ca_file, *authority.issue(node.name, user, hosts=hosts)):
        (home / file.name).write_bytes(file.read_bytes())
    (home / "containerd.toml").write_text((files("dslite_cluster") / "files" / "containerd.toml").read_text())
    (home / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet(node)))
    (home / "kube-proxy.yaml").write_text(yaml.safe_dump(_proxy(node)))
    _write_cni(home / "cni", node)
    for place in volume_folders():
        (disk / place.relative_to("/var")).mkdir(parents=True)


def _write_cni(folder: Path, node: Node) -> None:
    for program in (*FAMILIES["cni"], "multus"):
        (folder / "bin" / program).symlink_to(binary(program))
    shim = folder / "bin" / "free-device"
    shim.write_text((files("dslite_cluster") / "files" / "free-device").read_text())
    shim.chmod(0o755)
    (folder / "net.d" / "00-multus.conf").write_text(json.dumps(_multus(node), indent=2))


def _multus(node: Node) -> dict[str, Any]:
    """Multus first; it calls the bridge for a pod's own interface, and whatever its annotation names."""
    ranges = [[{"subnet": str(subnet)}] for subnet in node.pods]
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "mtu": MTU,
        "ipam": {"type": "host-local", "ranges": ranges, "routes": routes, "dataDir": "/var/lib/cni/pods"},
    }
    return {
        "cniVersion": "1.0.0",
        "name": "multus",
        "type": "multus",
        "kubeconfig": str(HERE / "multus.kubeconfig"),
        "binDir": str(HERE / "cni" / "bin"),
        "delegates": [{"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}],
    }


def _kubelet(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": str(HERE / "ca.crt")}, "anonymous": {"enabled": False}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(HERE / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(HERE / f"{node.name}.key"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDomain": DOMAIN,
        "clusterDNS": [str(LINKS[0][PLANE_HOST])],
        "resolvConf": "",
        # A machine of which this node is only a part: it does not divide its cgroups, and may have those of version 1, or swap.
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "failCgroupV1": False,
        "failSwapOn": False,
        # A program that is killed again and again by a test is there again at once.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        # Images come from archives, and nobody would bring them again.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def _proxy(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(HERE / "kube-proxy.kubeconfig")},
        "clusterCIDR": ",".join(map(str, PODS)),
        "hostnameOverride": node.name,
        # Answers between two pods of one bridge come back through the node even where the kernel has no br_netfilter.
        "nftables": {"masqueradeAll": True},
        # These limits are the machine's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


# ---------------------------------------------------------------- programs
def init_command(plan: Plan, record: Record, node: Node) -> list[str]:
    """The node's first process: it ends with whoever started it (`--kill-child`)."""
    enter = ["nsenter", f"--net=/run/netns/{plan.namespace(node.name)}"]
    become = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc"]
    script = files("dslite_cluster") / "files" / "node-init.sh"
    return [*enter, *become, "sh", str(script), str(record.disk(node)), str(record.shared)]


def is_ready(record: Record, node: Node) -> bool:
    """Whether the first process has put the node's folders in place."""
    return (record.disk(node) / "lib" / "ready").exists()


def inside(record: Record, node: Node, command: Sequence[str]) -> list[str]:
    """`command` among the processes of a node that runs. Raises `ClusterError`."""
    starter = recorded(record.process_file(node.name))
    if starter is None or not is_running(starter):
        raise ClusterError(f"{node.name} does not run: `dslite-cluster down`, then `up`")
    first = Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()[0]  # made by `unshare --fork`
    return ["nsenter", "--target", first, "--net", *NAMESPACES, "--", *command]


def node_command(program: str, node: Node) -> list[str]:
    """How one of `PROGRAMS` is started inside the node."""
    if program == "containerd":
        return ["containerd", "--config", str(HERE / "containerd.toml")]
    options: Mapping[str, object] = {"config": HERE / f"{program}.yaml"}
    if program == "kubelet":
        addresses = ",".join(str(address.ip) for address in node.addresses)
        options = {
            **options,
            "kubeconfig": HERE / "kubelet.kubeconfig",
            "hostname-override": node.name,
            "node-ip": addresses,
        }
    return [str(binary(program)), *(f"--{name}={value}" for name, value in options.items())]
