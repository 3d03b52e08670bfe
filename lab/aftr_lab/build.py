"""`aftr-lab up`: the network, then its programs, then waiting until packets can flow."""

import shutil
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_interface
from pathlib import Path

from pyroute2 import netns

from aftr_lab import plan as planned
from aftr_lab.errors import LabExistsError
from aftr_lab.network import End, Interface, add_bridge, add_link, add_namespace, add_route
from aftr_lab.plan import B4, Aftr, Options, Plan, describe, make_plan
from aftr_lab.programs import Say, start_programs
from aftr_lab.provider import PLACES
from aftr_lab.record import Record
from aftr_lab.stores import MANAGEMENT_LINK
from aftr_lab.teardown import note_mount, tear_down
from dslite_contract.load import load_config

IPV4_ROUTER = {"net.ipv4.ip_forward": 1}
FORWARDING = {"router": IPV4_ROUTER | {"net.ipv6.conf.all.forwarding": 1}, "b4": IPV4_ROUTER}  # by kind of node


def bring_up(lab: str, file: Path, options: Options, say: Say) -> Plan:
    """Build the lab `lab` from a configuration file; when anything fails, leave nothing behind.

    `say` is told each step. Raises `LabError`, or `ConfigurationError` before anything is made.
    """
    plan = make_plan(lab, load_config(file), options)
    record = Record(lab)
    _refuse_existing(plan, record)
    record.create(describe(plan))
    try:
        note_mount()
        for copy in (record.built_file, record.config_file):
            shutil.copyfile(file, copy)
        _build(plan, record, say)
    except BaseException:
        tear_down(record)
        raise
    return plan


def plan_of(record: Record) -> Plan:
    """The plan of a lab that is up, with the configuration that its AFTRs run with now. Raises `LabError` when there is none."""
    options = Options(**record.load()["options"])
    built = make_plan(record.name, load_config(record.built_file), options)
    return replace(built, configuration=load_config(record.config_file))


def _refuse_existing(plan: Plan, record: Record) -> None:
    if record.exists():
        raise LabExistsError(f"the lab {plan.lab!r} exists: run `aftr-lab --lab {plan.lab} down` first")
    taken = {plan.namespace(node) for node in plan.nodes()} & set(netns.listnetns())
    if taken:
        raise LabExistsError(f"network namespace {min(taken)} exists already: choose another name with --lab")


def _build(plan: Plan, record: Record, say: Say) -> None:
    say(f"network of {len(list(plan.nodes()))} namespaces")
    for node in plan.nodes():
        add_namespace(plan.namespace(node), FORWARDING.get(node.partition("-")[0], {}))
    _build_router(plan)
    _build_internet(plan)
    _build_access(plan)
    if plan.durability:
        _build_store(plan)
    if plan.options.clients:
        _build_provider(plan)
    for aftr in plan.aftrs:
        _build_aftr(plan, aftr)
    for b4 in plan.b4s:
        _build_b4(plan, b4)
    start_programs(plan, record, say)


def _with(address: IPv4Address | IPv6Address, length: int) -> Interface:
    return ip_interface(f"{address}/{length}")


def _build_router(plan: Plan) -> None:
    """The router's two links to the AFTR are bridges, so that several AFTRs, and the server, are neighbours there.

    Where slots' addresses are on these links, it looks for every one of them.
    """
    router = plan.namespace("router")
    access = _with(planned.ROUTER_IPV6, planned.ACCESS_LINK.prefixlen)
    internet = _with(planned.ROUTER_IPV4, planned.INTERNET_LINK.prefixlen)
    add_bridge(End(router, "access", (access,)), plan.options.access_mtu)
    add_bridge(End(router, "internet", (internet,)), planned.INTERNET_MTU)
    if plan.layer2:
        add_route(router, str(plan.pool.spec.softwire.prefix), device="access")
        for prefix in plan.internet_prefixes():
            add_route(router, str(prefix), device="internet")


def _build_internet(plan: Plan) -> None:
    internet = plan.namespace("internet")
    server = _with(planned.SERVER_ADDRESS, planned.INTERNET_LINK.prefixlen)
    port = End(plan.namespace("router"), "server", bridge="internet")
    add_link(End(internet, "internet", (server,)), port, planned.INTERNET_MTU)
    add_route(internet, "0.0.0.0/0", gateway=str(planned.ROUTER_IPV4))


def _build_access(plan: Plan) -> None:
    """A bridge for B4s and other devices; the router looks for every address of a registered prefix on it."""
    access, router = plan.namespace("access"), plan.namespace("router")
    gateway = _with(planned.SUBSCRIBERS_GATEWAY, 64)
    add_bridge(End(access, "subscribers"), plan.options.access_mtu)
    add_link(
        End(router, "subscribers", (gateway,)), End(access, "router", bridge="subscribers"), plan.options.access_mtu
    )
    for prefix in plan.registered_prefixes():
        add_route(router, str(prefix), device="subscribers")


def _build_provider(plan: Plan) -> None:
    """Kea in the B4s' layer 2, and on the access link where relays ask it; what answers for names, and Kea's agent, there."""
    port = End(plan.namespace("access"), "dhcp", bridge="subscribers")
    add_link(End(plan.namespace("dhcp"), "access"), port, plan.options.access_mtu)
    for node in plan.provider:
        device, address = PLACES[node]
        own = End(plan.namespace(node), device, (_with(address, planned.ACCESS_LINK.prefixlen),))
        add_link(own, End(plan.namespace("router"), node, bridge="access"), plan.options.access_mtu)
        add_route(plan.namespace(node), "::/0", gateway=str(planned.ROUTER_IPV6))


def _build_store(plan: Plan) -> None:
    """The store's own bridge: the management network, on which AFTRs find the Redis and each other."""
    first, *others = plan.stores
    add_bridge(End(plan.namespace(first.name), "mgmt", (_management(first.address),)), planned.MANAGEMENT_MTU)
    for other in others:
        port = End(plan.namespace(first.name), other.name, bridge="mgmt")
        add_link(End(plan.namespace(other.name), "mgmt", (_management(other.address),)), port, planned.MANAGEMENT_MTU)


def _management(address: IPv4Address) -> Interface:
    return _with(address, MANAGEMENT_LINK.prefixlen)


def _build_aftr(plan: Plan, aftr: Aftr) -> None:
    """Two arms, a queue for each worker; the kernel has addresses and default routes there, the rest is the AFTR's.

    A router that learns of no slots has static routes to it.
    """
    name, router, queues = plan.namespace(aftr.name), plan.namespace("router"), plan.options.workers
    access = End(name, "access", (_with(aftr.access_address, planned.ACCESS_LINK.prefixlen),))
    internet = End(name, "internet", (_with(aftr.internet_address, planned.INTERNET_LINK.prefixlen),))
    add_link(access, End(router, f"{aftr.name}-access", bridge="access"), plan.options.access_mtu, queues)
    add_link(internet, End(router, f"{aftr.name}-inet", bridge="internet"), planned.INTERNET_MTU, queues)
    add_route(name, "::/0", gateway=str(planned.ROUTER_IPV6))
    add_route(name, "0.0.0.0/0", gateway=str(planned.ROUTER_IPV4))
    if plan.durability:
        management = _management(aftr.management_address)
        port = End(plan.namespace("store"), aftr.name, bridge="mgmt")
        add_link(End(name, "mgmt", (management,)), port, planned.MANAGEMENT_MTU)
    if plan.bgp or plan.layer2:
        return
    add_route(router, str(plan.pool.spec.softwire.prefix), gateway=str(aftr.access_address))
    for prefix in plan.internet_prefixes():
        add_route(router, str(prefix), gateway=str(aftr.internet_address))


def _build_b4(plan: Plan, b4: B4) -> None:
    """A B4 between the access network and its LAN, where one host lives; with a DHCPv6 client both ask for their addresses."""
    name, host, length = plan.namespace(b4.name), plan.namespace(b4.host), planned.LAN.prefixlen
    given = not b4.client
    wan = End(name, "wan", (_with(b4.address, b4.prefix.prefixlen),) if given else ())
    add_link(wan, End(plan.namespace("access"), b4.name, bridge="subscribers"), plan.options.access_mtu)
    add_route(name, "::/0", gateway=str(planned.SUBSCRIBERS_GATEWAY), device="wan")
    lan = End(name, "lan", (_with(planned.B4_LAN_ADDRESS, length),))
    add_link(lan, End(host, "lan", (_with(planned.HOST_ADDRESS, length),) if given else ()), planned.INTERNET_MTU)
    if given:
        add_route(host, "0.0.0.0/0", gateway=str(planned.B4_LAN_ADDRESS))
