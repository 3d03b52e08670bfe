"""Flags of `aftr run`: wrong ones are refused in a sentence, before anything is compiled or opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aftr.ops import agent
from aftr.ops.agent import Options, check_memory, settings_of
from aftr.ops.run import UsageError, parse_interfaces, parse_port, parse_slots
from dslite_contract.errors import DsliteError
from dslite_contract.load import load_config
from rig import config_text


@pytest.mark.parametrize(
    ("text", "numbers"), [(None, None), ("0", (0,)), ("0-3,7", (0, 1, 2, 3, 7)), ("3-3,1", (1, 3))]
)
def test_slots(text: str | None, numbers: tuple[int, ...] | None) -> None:
    assert parse_slots(text, 8) == numbers


@pytest.mark.parametrize("text", ["5-3", "²", "", "1,,2", "-1", "a", "0-8", "1-"])
def test_slots_that_are_none(text: str) -> None:
    if text == "1-":
        assert parse_slots(text, 8) == (1,)
        return
    with pytest.raises(UsageError, match="--slots"):
        parse_slots(text, 8)


@pytest.mark.parametrize(("address", "port"), [(None, 0), ("[::]:9464", 9464), ("127.0.0.1:80", 80)])
def test_status_port(address: str | None, port: int) -> None:
    assert parse_port(address) == port


@pytest.mark.parametrize("address", ["localhost", "x:y", "[::]:", "[::]:70000", "[::]:²"])
def test_status_ports_that_are_none(address: str) -> None:
    with pytest.raises(UsageError, match="--status"):
        parse_port(address)


def test_interfaces_are_given_one_way() -> None:
    with pytest.raises(UsageError, match="either"):
        parse_interfaces(("access=eth0",), "eth0", None, {})
    (both,) = parse_interfaces((), "eth0", "eth0", {})
    assert both.side == "both"


def test_the_store_is_the_one_of_the_secret_and_marked_with_our_ids(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    for key, value in {"url": "redis+sentinel://a,b/pool", "password": "one", "sentinel-password": "two"}.items():
        (tmp_path / "store" / key).write_text(value)
    pool = load_config(config_text({"replicas": 2, "slots": 4, "store": {"secretRef": "redis"}})).pool
    plain = Options(tmp_path, (), member="a", secrets=tmp_path)
    settings = settings_of(replace(plain, cluster="c1", pool="p1"), pool)
    assert (settings.url, settings.password, settings.sentinel_password) == ("redis+sentinel://a,b/pool", "one", "two")
    assert (settings.uid, settings.cluster, settings.pool) == ("a", "c1", "p1")
    assert settings_of(replace(plain, store="redis://here"), pool).url == "redis://here"


def test_more_memory_than_there_is_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = load_config(config_text({"slots": 4}))
    check_memory(configuration, 64 << 20)
    monkeypatch.setattr(agent, "available_memory", lambda: 100 << 20)
    with pytest.raises(DsliteError, match=r"the pool needs .* GiB .* 0.1 GiB available: lower spec.capacity"):
        check_memory(configuration, 64 << 20)
