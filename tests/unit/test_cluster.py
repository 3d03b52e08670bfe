"""What a cluster will consist of, before any of it is made: addresses, certificates, attachments, keys of the cache."""

from __future__ import annotations

import base64
import json
import shutil
import signal
from ipaddress import IPv4Address, collapse_addresses, ip_address, ip_network
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from aftr_lab.plan import INTERNET_LINK, ROUTER_IPV6
from dslite_cluster import binaries, node
from dslite_cluster.again import signal_program, start_again
from dslite_cluster.authority import Authority
from dslite_cluster.controlplane import CLIENTS, write_plane
from dslite_cluster.errors import BuildError, ClusterError
from dslite_cluster.networks import attachments, capacity_patch
from dslite_cluster.outside import join
from dslite_cluster.plan import LINKS, PODS, SERVICES, api_names, describe, make_plan, plane_addresses, router_addresses
from dslite_cluster.record import Record
from dslite_cluster.tools import run


def test_nodes_and_their_pods_have_networks_of_their_own() -> None:
    plan = make_plan("test", nodes=2, devices=8, port=6443)
    first, second = plan.nodes
    assert [str(address) for address in first.addresses] == ["172.18.0.11/24", "fd18::b/64"]
    assert [str(network) for network in second.pods] == ["10.244.2.0/24", "fd10:244:0:2::/64"]
    of_ipv4, of_ipv6 = [LINKS[0], SERVICES[0], PODS[0]], [LINKS[1], SERVICES[1], PODS[1]]
    assert list(collapse_addresses(of_ipv4)) == sorted(of_ipv4)
    assert list(collapse_addresses(of_ipv6)) == sorted(of_ipv6)
    assert describe(plan)["namespaces"] == {
        "plane": "dsc-test-plane",
        "fabric": "dsc-test-fabric",
        "node-1": "dsc-test-node-1",
        "node-2": "dsc-test-node-2",
    }


def test_the_outsides_router_takes_no_address_of_the_nodes_link_from_others() -> None:
    others = {address for node in make_plan("test", 4, 1, 6443).nodes for address in node.addresses}
    assert not {*others, *plane_addresses()} & {*router_addresses()}
    assert [str(address) for address in router_addresses()] == ["172.18.0.254/24", "fd18::fe/64"]


def test_certificates_are_signed_by_the_one_authority_and_say_who_it_is(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    file, key = authority.issue("server", "kube-apiserver", "system:masters", hosts=api_names())
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    strict = PolicyBuilder().store(Store([authority.certificate])).build_server_verifier(x509.DNSName("localhost"))
    assert strict.verify(certificate, [])[-1] == authority.certificate
    assert certificate.subject.rfc4514_string() == "CN=kube-apiserver,O=system:masters"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert IPv4Address("127.0.0.1") in names.get_values_for_type(x509.IPAddress)
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_kubeconfig_needs_no_other_file(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    authority.kubeconfig(tmp_path / "config", "https://127.0.0.1:6443", "system:node:node-1", "system:nodes")
    document = yaml.safe_load((tmp_path / "config").read_text())
    user = document["users"][0]["user"]
    certificate = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))
    certificate.verify_directly_issued_by(authority.certificate)
    assert certificate.subject.rfc4514_string() == "CN=system:node:node-1,O=system:nodes"
    assert (tmp_path / "config").stat().st_mode & 0o777 == 0o600


def test_the_control_plane_is_reached_at_the_port_that_was_found(tmp_path: Path) -> None:
    record = Record("test", tmp_path)
    write_plane(make_plan("test", nodes=1, devices=1, port=7443), record)
    assert "bind 127.0.0.1:7443" in (record.plane / "haproxy.cfg").read_text()
    assert "namespace dsc-test-plane" in (record.plane / "haproxy.cfg").read_text()
    config = yaml.safe_load(record.kubeconfig.read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:7443"
    assert all((record.plane / f"{file}.kubeconfig").exists() for file in CLIENTS)


def test_a_nodes_disk_has_what_its_programs_read(tmp_path: Path) -> None:
    record, one = Record("test", tmp_path), make_plan("test", 1, 1, 6443).nodes[0]
    node.write_disk(record, one, Authority.make(tmp_path / "ca"))
    home = record.disk(one) / "lib" / "dslite"
    kubelet = yaml.safe_load((home / "kubelet.yaml").read_text())
    named = [kubelet["tlsCertFile"], kubelet["tlsPrivateKeyFile"], kubelet["authentication"]["x509"]["clientCAFile"]]
    assert all((home / Path(file).relative_to(node.HERE)).exists() for file in named)
    multus = json.loads((home / "cni" / "net.d" / "00-multus.conf").read_text())
    subnets = [ip_network(one[0]["subnet"]) for one in multus["delegates"][0]["plugins"][0]["ipam"]["ranges"]]
    assert subnets == list(one.pods)


def test_devices_get_addresses_of_the_labs_links_and_its_router_as_gateway() -> None:
    access, internet = (json.loads(one["spec"]["config"])["ipam"] for one in attachments())
    assert access["routes"] == [{"dst": "::/0", "gw": str(ROUTER_IPV6), "priority": 2048}]
    only = internet["ranges"][0][0]
    assert ip_address(only["rangeStart"]) in INTERNET_LINK
    assert int(ip_address(only["rangeEnd"])) - int(ip_address(only["rangeStart"])) > 64


def test_a_nodes_capacity_names_both_resources() -> None:
    paths = [step["path"] for step in json.loads(capacity_patch(8))]
    assert paths == ["/status/capacity/example.com~1aftr_access", "/status/capacity/example.com~1aftr_internet"]


def test_a_lab_with_aftrs_of_its_own_is_not_joined() -> None:
    with pytest.raises(
        ClusterError, match="lab 'home' has AFTRs of its own: make it with `aftr-lab up FILE --outside`"
    ):
        join(make_plan("test", 1, 1, 6443), {"lab": "home", "options": {"outside": False}})


def test_only_a_program_that_runs_is_killed_and_only_one_that_is_known_is_started(tmp_path: Path) -> None:
    record = Record("test", tmp_path)
    with pytest.raises(ClusterError, match="no program etcd runs"):
        signal_program(record, "etcd", signal.SIGKILL)
    with pytest.raises(ClusterError, match=r"node-9\.kubelet cannot be started again"):
        start_again(make_plan("test", 1, 1, 6443), record, "node-9.kubelet")


def test_another_version_of_a_module_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(binaries.MODULES, tmp_path / "go")
    monkeypatch.setattr(binaries, "MODULES", tmp_path / "go")
    before = binaries.binary("etcd"), binaries.binary("helm")
    module = tmp_path / "go" / "etcd" / "go.mod"
    module.write_text(module.read_text().replace("v3.6.16", "v3.6.17"))
    after = binaries.binary("etcd"), binaries.binary("helm")
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_builder_that_fails_is_quoted() -> None:
    with pytest.raises(BuildError, match=r"(?s)`sh -c echo because >&2; exit 3` failed:.*because"):
        run(["sh", "-c", "echo because >&2; exit 3"])
    with pytest.raises(BuildError, match="no-such-program is not installed: run `sudo make cluster`"):
        run(["no-such-program"])
