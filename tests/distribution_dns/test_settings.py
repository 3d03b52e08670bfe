"""What the chart's values of DNS may be."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dslite_operator.settings import DnsSettings, Place, place_with

ZONE: dict[str, Any] = {"zone": "aftr.example.net", "server": "192.0.2.53"}


@pytest.mark.parametrize(
    ("text", "place", "spelled"),
    [
        ("192.0.2.53", ("192.0.2.53", 53), "192.0.2.53:53"),
        ("192.0.2.53:5353", ("192.0.2.53", 5353), "192.0.2.53:5353"),
        ("2001:db8:53::1", ("2001:db8:53::1", 53), "[2001:db8:53::1]:53"),
        ("[2001:DB8:53::1]:5353", ("2001:db8:53::1", 5353), "[2001:db8:53::1]:5353"),
    ],
)
def test_a_server_is_an_address_with_a_port(text: str, place: Place, spelled: str) -> None:
    assert place_with(53)(text) == place
    assert str(place_with(53)(text)) == spelled


@pytest.mark.parametrize(
    "text",
    [
        "ns1.example.net",
        "",
        "192.0.2.53:",
        "192.0.2.53:0",
        "[2001:db8::1",
        "2001:db8::1]:53",
        "[2001:db8::1:53",
        "192.0.2.53:65536",
    ],
)
def test_anything_else_is_refused_with_its_value(text: object) -> None:
    with pytest.raises(
        ValueError, match=r"is not allowed: an address, with a port if it is not 53, such as 2001:db8::53"
    ):
        place_with(53)(text)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"zones": [{**ZONE, "tsigSecretRef": "tsig"}]}, "dns.owner: a name for this installation is needed"),
        ({"zones": [ZONE, ZONE]}, "dns.zones: aftr.example.net stands there twice"),
        ({"zones": [{**ZONE, "zone": "aftr.example.net."}]}, "zone"),
        ({"owner": "two words"}, "owner"),
        ({"zones": [{**ZONE, "ttl": 5}]}, "ttl"),
    ],
)
def test_settings_that_are_wrong_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DnsSettings.model_validate(values)


def test_a_zone_without_a_key_needs_no_owner() -> None:
    assert DnsSettings.model_validate({"zones": [ZONE]}).zones[0].tsig_secret_ref == ""
