"""What the operator is given at its start, as chart values: what is wrong ends it there, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dslite_operator.settings import SettingsError, load_settings

GIVEN: dict[str, Any] = {"release": "0.1.0", "aftr": {"image": "aftr:0.1.0"}}


@pytest.mark.parametrize("quantity", ["1Gi", "1.5", "500m", "1048576", "2k"])
def test_quantities_are_those_of_kubernetes(tmp_path: Path, quantity: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({**GIVEN, "store": {"memory": quantity}}))
    assert load_settings(file).store.memory == quantity


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"store": {"memory": "much"}}, "store.memory"), ({"store": {"memory": ""}}, "store.memory"),
        ({"store": {"storage": "1 Gi"}}, "store.storage"), ({"aftr": {"image": "x", "cpu": "-1"}}, "aftr.cpu"),
        ({"store": {"memory": "1gi"}}, "store.memory"),
    ],
)  # fmt: skip
def test_one_that_is_none_ends_the_operator_and_no_pool(tmp_path: Path, wrong: dict[str, Any], place: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({**GIVEN, **wrong}))
    with pytest.raises(SettingsError, match=place):
        load_settings(file)
