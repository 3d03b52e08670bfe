"""The AFTR's name: which ones a B4 follows (RFC 6334), and the address behind one."""

from ipaddress import IPv6Address
from pathlib import Path

import dns.exception
import dns.name
import dns.resolver

from aftr.b4.errors import AftrNameError
from dslite_contract.domain_names import LABEL, LONGEST_NAME

RESOLUTION_S = 5.0  # over all resolvers, before it is begun anew


def absolute_name(text: str) -> str:
    """The name that a DHCPv6 client printed, in lower case without its last dot.  Raises `AftrNameError`.

    Option 64 holds one absolute domain name (RFC 6334 §3): no address, no single label, and not nothing.
    """
    name = text.strip().lower().removesuffix(".")
    labels = name.split(".")
    if not name:
        reason = "it is empty"
    elif ":" in name or labels[-1].isdigit():
        reason = "it is an address"
    elif len(labels) == 1:
        reason = "it has a single label"
    elif len(name) > LONGEST_NAME or not all(map(LABEL.fullmatch, labels)):
        reason = "it is no host name"
    else:
        return name
    raise AftrNameError(
        f"the AFTR's name {name!r} of option 64 is refused: {reason}; the provider must send one absolute name (RFC 6334)"
    )


def resolve_over_ipv6(name: str, resolvers: Path) -> IPv6Address:
    """The first AAAA of an absolute name, asked over IPv6 (row B02).  Raises `AftrNameError`.

    `resolvers` is a file in the form of resolv.conf(5); those in it with an IPv4 address are not asked.
    """
    try:
        resolver = dns.resolver.Resolver(filename=str(resolvers))
        resolver.nameservers = [server for server in resolver.nameservers if ":" in str(server)]
        if not resolver.nameservers:
            raise AftrNameError(
                f"the AFTR's name {name} does not resolve: the provider named no IPv6 resolver (option 23)"
            )
        answer = resolver.resolve(dns.name.from_text(name), "AAAA", lifetime=RESOLUTION_S)
    except dns.exception.DNSException as error:
        raise AftrNameError(f"the AFTR's name {name} does not resolve ({error}); it is asked for again") from error
    return IPv6Address(answer[0].address)
