"""How many solicited-node groups a device hears."""

from __future__ import annotations

import pytest

from aftr.io.groups import HEARD, too_many


@pytest.mark.parametrize(("driver", "slots"), [("igbvf", HEARD["igbvf"]), ("mlx5_core", 1024), ("", 1024)])
def test_devices_that_hear_of_all_slots(driver: str, slots: int) -> None:
    assert too_many("access", driver, slots) is None


def test_a_virtual_function_of_igb_hears_of_few_and_says_so() -> None:
    assert too_many("access", "igbvf", 32) == (
        "access (igbvf) hears neighbours ask for 24 slots at most, and the pool has 32: with routing.layer2 routers find the others by "
        "announcements alone; use routing.bgp, or fewer slots"
    )
