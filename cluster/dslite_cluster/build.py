"""`dslite-cluster up`: network, control plane, nodes, images; returns when pods can run."""

import socket
from functools import partial
from importlib.resources import files

import yaml
from pyroute2 import netns

from aftr_lab.network import End, add_bridge, add_namespace
from aftr_lab.processes import start
from aftr_lab.ready import Program, answers_http, wait_until
from aftr_lab.teardown import note_mount
from dslite_cluster import cgroups, controlplane, node
from dslite_cluster.authority import Authority
from dslite_cluster.binaries import Say
from dslite_cluster.errors import ClusterError
from dslite_cluster.images import Image
from dslite_cluster.kubectl import answers, apply, kubectl, node_is_ready
from dslite_cluster.load import containerd_answers, load_images
from dslite_cluster.networks import attachments, capacity_patch
from dslite_cluster.plan import API_PORT, MTU, SIDES, Node, Plan, describe, plane_addresses
from dslite_cluster.record import Record
from dslite_cluster.teardown import tear_down
from dslite_cluster.volumes import storage_class, volumes

PROGRAM_READY_S = 60.0
NODE_READY_S = 120.0
READY = ("get", "--raw", "/readyz")  # of kubectl


def bring_up(plan: Plan, record: Record, images: list[Image], say: Say) -> None:
    """Make the cluster `plan`; when anything fails, leave nothing behind. Raises `ClusterError`, `LabError`."""
    taken = {plan.namespace(part) for part in plan.parts()} & set(netns.listnetns())
    if taken:
        raise ClusterError(f"network namespace {min(taken)} exists already: choose another name with --cluster")
    record.create(describe(plan))
    try:
        note_mount()
        _build_network(plan)
        authority = _start_plane(plan, record, say)
        kubelets = {}
        for one in plan.nodes:
            say(f"starting {one.name}")
            kubelets[one] = _start_node(plan, record, one, authority, images)
        for one, kubelet in kubelets.items():
            _await_node(plan, record, one, kubelet)
    except BaseException:
        tear_down(record)
        raise


def free_port() -> int:
    """6443 of the loopback address, or if that is taken another one."""
    for port in (API_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ClusterError("no TCP port of 127.0.0.1 is free")


def _build_network(plan: Plan) -> None:
    plane, fabric = plan.namespace("plane"), plan.namespace("fabric")
    add_namespace(plane, {})
    add_bridge(End(plane, "nodes", plane_addresses()), MTU)
    add_namespace(fabric, {})
    for side in SIDES:
        add_bridge(End(fabric, side), MTU)
    for one in plan.nodes:
        node.add_node_network(plan, one)
    node.add_pod_routes(plan, plane)
    for one in plan.nodes:
        node.add_pod_routes(plan, plan.namespace(one.name), own=one)


# ---------------------------------------------------------------- control plane
def _start_plane(plan: Plan, record: Record, say: Say) -> Authority:
    """All of its programs; the API server answers on this machine when this returns."""
    say("starting the control plane")
    authority = controlplane.write_plane(plan, record)
    programs = {program: start_plane_program(plan, record, program) for program in controlplane.PROGRAMS}
    ready = partial(answers, record.kubeconfig, *READY)
    wait_until(ready, "the API server is ready", PROGRAM_READY_S, programs["kube-apiserver"])
    apply(
        record.kubeconfig, list(yaml.safe_load_all((files("dslite_cluster") / "files" / "networks.yaml").read_text()))
    )
    established = ("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    kubectl(record.kubeconfig, *established)
    apply(record.kubeconfig, attachments())
    account = partial(answers, record.kubeconfig, "get", "serviceaccount", "default")
    wait_until(account, "the controllers work", PROGRAM_READY_S, programs["kube-controller-manager"])
    names = answers_http(plan.namespace("plane"), "http://127.0.0.1:8181/ready")
    wait_until(names, "DNS answers", PROGRAM_READY_S, programs["coredns"])
    return authority


def start_plane_program(plan: Plan, record: Record, program: str) -> Program:
    """One of `controlplane.PROGRAMS`; haproxy alone is in the machine's own network."""
    namespace = None if program == "haproxy" else plan.namespace("plane")
    return _start(record, program, namespace, controlplane.plane_command(program, record))


# ---------------------------------------------------------------- nodes
def _start_node(plan: Plan, record: Record, one: Node, authority: Authority, images: list[Image]) -> Program:
    """All of its programs; returns its kubelet."""
    record.shared.mkdir(exist_ok=True)
    cgroups.give_weight()
    node.write_disk(record, one, authority)
    first = _start(record, one.name, None, node.init_command(plan, record, one))
    wait_until(lambda: node.is_ready(record, one), f"{one.name} has its folders", PROGRAM_READY_S, first)
    runtime = start_node_program(record, one, "containerd")
    wait_until(lambda: containerd_answers(record, one), "containerd answers", PROGRAM_READY_S, runtime)
    load_images(record, one, images)
    start_node_program(record, one, "kube-proxy")
    return start_node_program(record, one, "kubelet")


def start_node_program(record: Record, one: Node, program: str) -> Program:
    """One of `node.PROGRAMS`, among the processes of its node."""
    command = node.inside(record, one, node.node_command(program, one))
    return _start(record, f"{one.name}.{program}", None, command)


def _await_node(plan: Plan, record: Record, one: Node, kubelet: Program) -> None:
    """Ready, and with its devices counted."""
    wait_until(partial(node_is_ready, record.kubeconfig, one.name), f"{one.name} is Ready", NODE_READY_S, kubelet)
    patch = ("patch", "node", one.name, "--subresource=status", "--type=json", "--patch", capacity_patch(plan.devices))
    kubectl(record.kubeconfig, *patch)
    apply(record.kubeconfig, [storage_class(), *volumes(one)])


def _start(record: Record, name: str, namespace: str | None, command: list[str]) -> Program:
    log = record.log_file(name)
    before = log.stat().st_size if log.exists() else 0
    return Program(name, start(namespace, command, record.process_file(name), log), log, before)
