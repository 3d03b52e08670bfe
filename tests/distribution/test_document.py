"""The example of docs/distribution.md is what comes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Network
from pathlib import Path

from contract_objects import SMALL
from dslite_contract.load import Configuration, load_config
from dslite_operator.distribution.maps import Area, BucketMap
from dslite_operator.distribution.moves import forecast, moves_between, pace_of, schedule
from dslite_operator.distribution.placement import place
from dslite_operator.distribution.standing import standing
from dslite_operator.distribution.wishes import Count, wish_of

DOCUMENT = (Path(__file__).parents[2] / "docs/distribution.md").read_text()
BEFORE, DIVIDED = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
SUBNETS = [Area(IPv6Network(f"2001:db8:{number}000::/48")) for number in (1, 2)]
B4S = [Count(118 - (bucket >= 48), 12 * (118 - (bucket >= 48))) for bucket in range(256)]
COUNTS = dict.fromkeys(SUBNETS, B4S)
NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)


def configured(groups: str) -> Configuration:
    return load_config(SMALL.replace("{name: east}", "{name: east, namespace: edge}") + "---\n" + groups)


def carried_out(groups: str, maps: Mapping[str, BucketMap]) -> tuple[dict[str, BucketMap], set[str]]:
    """The maps that come of it, and what is said of it beforehand."""
    loaded = configured(groups)
    wishes = {wish.group: wish for wish in (wish_of(loaded.pool, group, COUNTS) for group in loaded.groups)}
    stand = standing(list(wishes.values()), maps)
    target, said = place(list(wishes.values()), stand), set[str]()
    for group in loaded.groups:
        name, pace = f"edge/{group.metadata.name}", pace_of(group, timedelta(minutes=30))
        said.add(forecast(schedule(moves_between(stand[name], target[name], COUNTS), pace, stand[name], NOW)))
    return target, said


def wholes(maps: Mapping[str, BucketMap]) -> dict[str, list[int | None]]:
    return {name: [part.whole for part in one.parts] for name, one in maps.items()}


def test_d21_a_group_is_divided_as_the_document_says() -> None:
    assert sum(count.b4s for count in B4S) == 30_000
    before, said = carried_out(BEFORE, {})
    assert (said, before["edge/north"].chosen) == ({"no B4 moves"}, (0, 1))
    divided, said = carried_out(DIVIDED, before)
    assert wholes(divided) == {"edge/north": [0], "edge/south": [1]}
    assert said == set(re.findall(r"^> (\d.*)$", DOCUMENT, re.MULTILINE))
    assert carried_out(DIVIDED.replace("slots: 1", "slots: 2"), before)[1] == {"no B4 moves"}
    merged, said = carried_out(BEFORE, divided)
    assert (said, wholes(merged)) == ({"no B4 moves"}, {"edge/north": [0, 1]})
