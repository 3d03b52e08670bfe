"""What a real Kea, its login or its peer will not have, as a B4Group says it, and what B4s are told meanwhile (proof 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from dhcp_network import SERVERS
from distributing import Installation, east, homes, installation, tidied
from dns_servers import ZONE
from kea_servers import configuration, running_kea, subnet, unusable
from operating import operator
from reconciling import give, until

pytestmark = [pytest.mark.api, pytest.mark.distribution]


@pytest.fixture(scope="module", params=["2.2", "2.6", "3.0"])
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("installation"), str(request.param)) as made:
        yield made


@pytest.fixture(autouse=True)
def tidy(there: Installation) -> Iterator[None]:
    yield
    tidied(there)


def settled(there: Installation) -> bool:
    return there.says()[0] == "True"


def test_a_kea_that_cannot_write_its_file_tells_and_writes_it_as_soon_as_it_can(
    there: Installation, tmp_path: Path
) -> None:
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        file = there.kea.file
        with unusable(file):
            give(there.api, homes(slots=1))
            until(lambda: "a restart would forget it" in there.says()[1], 60)
            assert there.says()[0] == "False"
            assert set(there.all_told()) == {"s0"}
        until(lambda: settled(there), 90)
        assert f"s0.east.{ZONE}" in file.read_text()
        assert f"s1.east.{ZONE}" not in file.read_text()


def test_a_subnet_that_kea_does_not_have_is_named_until_it_has(there: Installation, tmp_path: Path) -> None:
    missing = "2001:db8:42::/64"
    give(there.api, east(), homes(), homes("shops", "2001:db8:42::/60", missing))
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        until(lambda: f"there is no subnet {missing}: add it to Kea" in there.says("Provisioned", "shops")[1], 60)
        assert there.says("Provisioned", "shops")[0] == "False"
        assert set(there.all_told()) == {"s0", "s1"}
        asyncio.run(there.kea.person(lambda whole: whole["subnet6"].append(subnet(9, missing))))
        until(lambda: there.says("Provisioned", "shops")[0] == "True", 90)


def test_a_login_that_kea_refuses_is_said_and_holds_again_as_soon_as_the_secret_is_right(
    there: Installation, tmp_path: Path
) -> None:
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings()):
        until(lambda: settled(there), 60)
        if there.kea.version == "2.2":
            pytest.skip("we come by its unix socket, which knows no login")
        document, password = asyncio.run(there.kea.document()), there.secrets / there.way["secretRef"] / "password"
        right = password.read_text()
        password.write_text("guess")
        try:
            give(there.api, homes(slots=1))
            until(lambda: "does not know our login" in there.says()[1], 60)
            assert there.says()[0] == "False"
            assert set(there.all_told()) == {"s0", "s1"}
            assert asyncio.run(there.kea.document()) == document
        finally:
            password.write_text(right)
        until(lambda: settled(there), 60)
        assert set(there.all_told()) == {"s0"}


def test_a_peer_that_is_gone_is_named_and_the_other_is_left_as_it_is(there: Installation, tmp_path: Path) -> None:
    version, socket = there.kea.version, there.network.folder / "kea-2-run/kea/kea-2.sock"
    peer = {"url": f"unix://{socket}", "probe": str(SERVERS["kea-2"])}
    give(there.api, east(), homes())
    with operator(there.api, tmp_path, there.settings(haPeers=[peer])):
        with running_kea(there.network, version, configuration(version, "kea-2"), "kea-2") as second:
            until(lambda: settled(there), 60)
            assert f"s1.east.{ZONE}" in second.file.read_text()
        document = asyncio.run(there.kea.document())
        give(there.api, homes(slots=1))
        until(lambda: "kea-2.sock does not answer" in there.says()[1], 60)
        assert there.says()[0] == "False"
        assert set(there.all_told()) == {"s0", "s1"}
        assert asyncio.run(there.kea.document()) == document
        with running_kea(there.network, version, configuration(version, "kea-2"), "kea-2"):
            until(lambda: settled(there), 90)
            assert set(there.all_told()) == {"s0"}
