"""Kinds of values in the schema: how a leaf is read from YAML, what is allowed there, and how that is said.

A leaf is read strictly: a number in quotes, `yes` for true or a prefix with host bits is refused, so that the same file
means the same to us and to an API server.  Every refusal is "<value> is not allowed: <what is allowed>".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, TypeGuard, TypeVar

from pydantic import GetCoreSchemaHandler, PlainValidator

from dslite_contract.domain_names import LABEL, LONGEST_LABEL, LONGEST_NAME

READ_OTHERWISE = ("true", "false", "null")  # text that needs quotes
SPELLED_LENGTH = 60  # of a value quoted in a message
PORTS_PER_ADDRESS = 65536 - 1024  # RFC 4787 REQ-3: external ports are 1024 to 65535
LONGEST_DOMAIN = LONGEST_NAME - len("s1023.") - LONGEST_LABEL - len(".")  # what is left beside "s<i>.<pool>."

QUANTITY = re.compile(r"(0|[1-9][0-9]{0,17})(Ki|Mi|Gi|Ti|k|M|G|T)?")
SLOT_RANGE = re.compile(r"(0|[1-9][0-9]{0,3})(?:-(0|[1-9][0-9]{0,3}))?")
PREFIX = re.compile(r"[0-9A-Fa-f:.]+/(?:0|[1-9][0-9]{0,2})")
UNITS = {suffix: 1 << 10 * (1 + place) for place, suffix in enumerate(("Ki", "Mi", "Gi", "Ti"))}
UNITS |= {suffix: 1000 ** (1 + place) for place, suffix in enumerate(("k", "M", "G", "T"))}

# Sources and destinations that are nobody's on the internet (RFC 6890; requirement D26).
RFC1918 = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
DSLITE_RANGE = IPv4Network("192.0.0.0/29")  # RFC 6333 section 10
NEVER_ROUTED = tuple(IPv4Network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"))
NOT_UNICAST = tuple(IPv6Network(text) for text in ("::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8"))

# The same in CEL, for the API server.  It reads no IPv4-mapped address at all.
CEL_NOT_UNICAST = tuple(prefix for prefix in NOT_UNICAST if prefix.prefixlen != 96)
CEL_PREFIX = "isCIDR(self) && cidr(self).ip().family() == {family} && cidr(self) == cidr(self).masked()"
CEL_PREFIX += " && cidr(self).prefixLength() >= {shortest}"
CEL_UNICAST = "![" + ", ".join(f"cidr('{prefix}')" for prefix in CEL_NOT_UNICAST) + "].exists(none, "
CEL_UNICAST += "none.containsCIDR(cidr(self)) || cidr(self).containsCIDR(none))"
CEL_SLOT_COUNT = "({slots}.contains('-') ? int({slots}.split('-')[1]) - int({slots}.split('-')[0]) + 1 : 1)"
CEL_POWERS = str([1 << place for place in range(11)])

Network = TypeVar("Network", IPv4Network, IPv6Network)


def spell(value: object) -> str:
    """A value as YAML would spell it, quoted where its kind would otherwise be unclear, and never long."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z:/][\w.:/@-]*|[0-9a-fA-F.:]+[:./][\w.:/-]*|[0-9]+[A-Za-z-]\w*", value, re.ASCII)
        text = value if plain and value not in READ_OTHERWISE else json.dumps(value)
    else:
        text = json.dumps(value, default=str)
    return text if len(text) <= SPELLED_LENGTH else text[: SPELLED_LENGTH - 1] + "…"


class NotYetError(ValueError):
    """A value that a later issue brings; its argument names that issue."""


@dataclass(frozen=True)
class SlotRange:
    """Consecutive slots `first` to `last`, both included; "0-3" in YAML."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __contains__(self, slot: int) -> bool:
        return self.first <= slot <= self.last


@dataclass(frozen=True, eq=False)
class Leaf:
    """Annotation of a field that holds one value.

    `parse` turns the YAML value into the Python one, or raises ValueError (with what is allowed, where that can be said
    better than by `allowed`).  `json_schema` is what the CRD will say.
    """

    parse: Callable[[object], object]
    allowed: str
    json_schema: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return PlainValidator(self.validate).__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, schema: object, handler: object) -> dict[str, Any]:
        return dict(self.json_schema)

    def validate(self, value: object) -> object:
        """The Python value; raises ValueError with the sentence for the user."""
        try:
            return self.parse(value)
        except NotYetError as later:
            sentence = f"{spell(value)} is not implemented yet (comes with {later})"
        except ValueError as reason:
            sentence = f"{spell(value)} is not allowed: {str(reason) or self.allowed}"
        raise ValueError(sentence)


def cel(rule: str, allowed: str, value: str = "self") -> dict[str, Any]:
    """The part of a JSON schema with which an API server refuses what `rule` does not hold for, in the words of a Leaf."""
    message = f'{value} + " is not allowed: " + {json.dumps(allowed)}'
    return {"x-kubernetes-validations": [{"rule": rule, "messageExpression": message}]}


def is_whole(value: object) -> TypeGuard[int]:
    """True for integers; True and False are none, nor is 1.0."""
    return isinstance(value, int) and not isinstance(value, bool)


def whole(low: int, high: int, *, note: str = "") -> Leaf:
    """A whole number from `low` to `high`."""

    def parse(value: object) -> int:
        if not is_whole(value) or not low <= value <= high:
            raise ValueError
        return value

    allowed = f"a whole number from {low} to {high}" + (f" ({note})" if note else "")
    return Leaf(parse, allowed, {"type": "integer", "minimum": low, "maximum": high})


def whole_or_all(low: int, high: int) -> Leaf:
    """A whole number from `low` to `high`, or the word all."""

    def parse(value: object) -> int | str:
        if value == "all":
            return "all"
        if not is_whole(value) or not low <= value <= high:
            raise ValueError
        return value

    allowed = f"all, or a whole number from {low} to {high}"
    either: dict[str, Any] = {"anyOf": [{"type": "integer"}, {"type": "string"}], "maxLength": 3}
    return Leaf(
        parse, allowed, either | cel(f"self == 'all' || (self >= {low} && self <= {high})", allowed, "string(self)")
    )


def power_of_two(low: int, high: int) -> Leaf:
    """One of the powers of two from `low` to `high`."""
    powers = [1 << place for place in range(low.bit_length() - 1, high.bit_length())]

    def parse(value: object) -> int:
        if not is_whole(value) or value not in powers:
            raise ValueError
        return value

    return Leaf(parse, f"a power of two from {low} to {high}", {"type": "integer", "enum": powers})


def quantity(low: int, high: int, span: str) -> Leaf:
    """Bytes, from `low` to `high`, with or without a suffix (64Mi); `span` says these bounds as people write them."""

    def parse(value: object) -> int:
        match = QUANTITY.fullmatch(value) if isinstance(value, str) else None
        size = int(match[1]) * UNITS.get(match[2] or "", 1) if match else value
        if not is_whole(size) or not low <= size <= high:
            raise ValueError
        return size

    allowed = f"{span} bytes, with or without a suffix such as Ki, Mi or Gi"
    text = f"self.matches('^{QUANTITY.pattern}$') && quantity(self).compareTo(quantity('{low}')) >= 0"
    text += f" && quantity(self).compareTo(quantity('{high}')) <= 0"
    rule = f"type(self) == int ? self >= {low} && self <= {high} : {text}"
    either: dict[str, Any] = {"anyOf": [{"type": "integer"}, {"type": "string"}], "maxLength": 20}
    return Leaf(parse, allowed, either | cel(rule, allowed, "string(self)"))


def choice(*values: str | int, later: Mapping[str, str] | None = None) -> Leaf:
    """One of `values`; `later` maps values of a later issue to its name."""

    def parse(value: object) -> object:
        if later and isinstance(value, str) and value in later:
            raise NotYetError(later[value])
        if not any(value == known and type(value) is type(known) for known in values):
            raise ValueError
        return value

    spelled = [str(value) for value in values]
    allowed = spelled[0] if len(spelled) == 1 else ", ".join(spelled[:-1]) + f" or {spelled[-1]}"
    kind = "integer" if isinstance(values[0], int) else "string"
    return Leaf(parse, allowed, {"type": kind, "enum": list(values)})


def switch() -> Leaf:
    """true or false."""

    def parse(value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    return Leaf(parse, "true or false", {"type": "boolean"})


def text(pattern: str, longest: int, allowed: str) -> Leaf:
    """A string of at most `longest` characters that matches all of `pattern`."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or len(value) > longest or not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError
        return value

    return Leaf(parse, allowed, {"type": "string", "maxLength": longest, "pattern": f"^{pattern}$"})


def label() -> Leaf:
    """A name that is also one label of a domain name (RFC 1123)."""
    return text(LABEL.pattern, LONGEST_LABEL, "1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit")


def secret_name() -> Leaf:
    """The name of a Kubernetes Secret (RFC 1123 subdomain)."""
    allowed = f"1 to {LONGEST_NAME} of a-z, 0-9, - and ., the name of a Secret"
    return text(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", LONGEST_NAME, allowed)


def domain_name() -> Leaf:
    """An absolute domain name without its last dot, so short that s1023.<pool>.<domain> is still a name (RFC 6334)."""
    allowed = f"two or more labels in lower case such as aftr.example.net, at most {LONGEST_DOMAIN} characters"
    pattern = rf"({LABEL.pattern}\.)+[a-z]([a-z0-9-]{{0,61}}[a-z0-9])?"
    return text(pattern, LONGEST_DOMAIN, allowed)


def interface_id() -> Leaf:
    """The Interface-ID that a relay writes, as text without quotes or backslashes; with * at the end, how it begins."""
    allowed = "1 to 254 of letters, digits, space and ._:/@#()+=,- such as dslam-7, with or without * at the end"
    return text(r"[A-Za-z0-9 ._:/@#()+=,-]{1,254}\*?", 255, allowed)


def time_of_day() -> Leaf:
    """Hours and minutes such as "02:30"."""
    return text(r"([01][0-9]|2[0-3]):[0-5][0-9]", 5, 'a time of the day in quotes such as "02:30"')


def parse_prefix(value: object, family: type[Network]) -> Network:
    """`value` as a prefix of that family, or ValueError.  Host bits, a missing length and a netmask are refused."""
    if isinstance(value, family):
        return value
    if not isinstance(value, str) or not PREFIX.fullmatch(value):
        raise ValueError
    try:
        network = family(value, strict=False)
        given = type(network.network_address)(value.partition("/")[0])
    except ValueError:
        raise ValueError from None
    if given != network.network_address:
        raise ValueError(f"without host bits it is {network}")
    return network


def ipv6_prefix(longest: int = 128) -> Leaf:
    """A unicast IPv6 prefix without host bits, /3 to /`longest`."""

    def parse(value: object) -> IPv6Network:
        network = parse_prefix(value, IPv6Network)
        if not 3 <= network.prefixlen <= longest or any(network.overlaps(other) for other in NOT_UNICAST):
            raise ValueError
        return network

    allowed = f"a unicast IPv6 prefix such as 2001:db8:64::/64, /3 to /{longest}"
    rule = f"{CEL_PREFIX.format(family=6, shortest=3)} && cidr(self).prefixLength() <= {longest} && {CEL_UNICAST}"
    return Leaf(parse, allowed, {"type": "string", "maxLength": 43} | cel(rule, allowed))


def ipv4_prefix(shortest: int = 0) -> Leaf:
    """An IPv4 prefix without host bits, /`shortest` to /32."""

    def parse(value: object) -> IPv4Network:
        network = parse_prefix(value, IPv4Network)
        if network.prefixlen < shortest:
            raise ValueError
        return network

    allowed = f"an IPv4 prefix such as 192.0.2.0/24, /{shortest} to /32"
    return Leaf(
        parse,
        allowed,
        {"type": "string", "maxLength": 18} | cel(CEL_PREFIX.format(family=4, shortest=shortest), allowed),
    )


def ipv4_address() -> Leaf:
    """An IPv4 address in dotted decimal."""

    def parse(value: object) -> IPv4Address:
        if not isinstance(value, (str, IPv4Address)):
            raise ValueError
        try:
            return IPv4Address(value)
        except ValueError:
            raise ValueError from None

    allowed = "an IPv4 address such as 203.0.113.10"
    rule = "isIP(self) && ip(self).family() == 4"
    return Leaf(parse, allowed, {"type": "string", "maxLength": 15} | cel(rule, allowed))


def peer_address() -> Leaf:
    """A unicast address of either family, for a router next to us or further away."""

    def parse(value: object) -> IPv4Address | IPv6Address:
        if not isinstance(value, (str, IPv4Address, IPv6Address)):
            raise ValueError
        try:
            address = ip_address(value)
        except ValueError:
            raise ValueError from None
        nobody = NEVER_ROUTED if isinstance(address, IPv4Address) else NOT_UNICAST
        if any(address in prefix for prefix in nobody) or getattr(address, "scope_id", None):
            raise ValueError
        return address

    allowed = "a unicast IPv4 or IPv6 address such as 2001:db8::1 or 198.51.100.254, not link-local"
    nobody = ", ".join(f"cidr('{prefix}')" for prefix in (*NEVER_ROUTED, *CEL_NOT_UNICAST))
    rule = f"isIP(self) && ![{nobody}].exists(none, none.containsIP(self))"
    return Leaf(parse, allowed, {"type": "string", "maxLength": 39} | cel(rule, allowed))


def slot_range() -> Leaf:
    """Slots such as "0-3" or "5", a power of two many."""

    def parse(value: object) -> SlotRange:
        if isinstance(value, SlotRange):
            return value
        match = SLOT_RANGE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValueError
        slots = SlotRange(int(match[1]), int(match[2] or match[1]))
        if slots.first > slots.last or len(slots).bit_count() != 1:
            raise ValueError
        return slots

    allowed = 'a range of slots such as 0-3, a power of two many, or one slot in quotes such as "5"'
    return Leaf(
        parse,
        allowed,
        {"type": "string", "maxLength": 9}
        | cel(
            f"self.matches('^{SLOT_RANGE.pattern}$') && {CEL_SLOT_COUNT.format(slots='self')} in {CEL_POWERS}", allowed
        ),
    )
