"""Files are watched, alone or in a folder: written in place, replaced, swapped like a ConfigMap, asked by SIGHUP."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aftr.ops import watch as module
from aftr.ops.watch import files_of, fingerprint, folders_of, watch

QUIET_S = 0.3


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.02)


class Calls:
    def __init__(self) -> None:
        self.number, self.raises = 0, False
        self._happened = asyncio.Event()

    async def changed(self) -> None:
        self.number += 1
        self._happened.set()
        if self.raises:
            raise RuntimeError("of the callback")

    async def one_more(self) -> None:
        await asyncio.wait_for(self._happened.wait(), 5)
        self._happened.clear()

    async def none(self) -> None:
        before = self.number
        await asyncio.sleep(QUIET_S)
        assert self.number == before


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[Calls]:
    calls = Calls()
    async with watch({path: calls.changed}, {path: fingerprint(path)}):
        yield calls


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "pool.yaml").write_text("one")
    return tmp_path / "pool.yaml"


def write(file: Path) -> None:
    file.write_text("two")


def replace(file: Path) -> None:
    (file.parent / "new").write_text("two")
    (file.parent / "new").replace(file)


def remove_and_write(file: Path) -> None:
    file.unlink()
    file.write_text("two")


@pytest.mark.parametrize("change", [write, replace, remove_and_write])
async def test_new_content_is_noticed_once(file: Path, change: Callable[[Path], None]) -> None:
    async with watched(file) as calls:
        change(file)
        await calls.one_more()
        await calls.none()


async def test_the_same_content_again_is_no_change(file: Path) -> None:
    async with watched(file) as calls:
        file.write_text("one")
        os.utime(file)
        (file.parent / "other.yaml").write_text("x")
        await calls.none()


async def test_a_file_that_is_gone_is_no_change_until_it_is_back(file: Path) -> None:
    async with watched(file) as calls:
        file.unlink()
        await calls.none()
        file.write_text("one")
        await calls.none()
        file.write_text("two")
        await calls.one_more()


async def test_what_changed_between_its_first_reading_and_the_watch_is_noticed(file: Path) -> None:
    seen, calls = {file: fingerprint(file)}, Calls()
    file.write_text("two")
    async with watch({file: calls.changed}, seen):
        await calls.one_more()
        await calls.none()


async def test_sighup_asks_even_if_nothing_changed(file: Path) -> None:
    async with watched(file) as calls:
        os.kill(os.getpid(), signal.SIGHUP)
        await calls.one_more()


async def test_a_failing_callback_does_not_end_the_watch(file: Path) -> None:
    async with watched(file) as calls:
        calls.raises = True
        file.write_text("two")
        await calls.one_more()
        calls.raises = False
        file.write_text("three")
        await calls.one_more()


def config_map(folder: Path, version: str) -> None:
    """What the kubelet does: a new folder of files, and `..data` swapped to it by a rename."""
    (folder / f"..{version}").mkdir()
    (folder / f"..{version}" / "pool.yaml").write_text(version)
    (folder / "..data_tmp").symlink_to(f"..{version}")
    (folder / "..data_tmp").rename(folder / "..data")


async def test_a_config_map_is_swapped(tmp_path: Path) -> None:
    config_map(tmp_path, "1")
    (tmp_path / "pool.yaml").symlink_to("..data/pool.yaml")
    async with watched(tmp_path / "pool.yaml") as calls:
        for version in ("2", "3"):
            config_map(tmp_path, version)
            await calls.one_more()
            await calls.none()


def secret(folder: Path, version: str) -> None:
    """A Secret of two keys, as the kubelet mounts it, and mounts it anew."""
    folder.mkdir(parents=True, exist_ok=True)
    config_map(folder, version)
    (folder / f"..{version}" / "password").write_text(version)
    for name in ("pool.yaml", "password"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


async def test_a_folder_of_secrets_is_watched_as_a_whole(tmp_path: Path) -> None:
    store, tor = tmp_path / "store", tmp_path / "bgp/tor"
    for folder in (store, tor):
        secret(folder, "1")
    assert files_of(tmp_path) == [tor / "password", tor / "pool.yaml", store / "password", store / "pool.yaml"]
    async with watched(tmp_path) as calls:
        for folder, version in ((store, "2"), (tor, "2"), (tor, "3")):
            secret(folder, version)
            await calls.one_more()
            await calls.none()
        (store / "..data/ca.crt").write_text("not linked to")
        await calls.none()
        (store / "ca.crt").symlink_to("..data/ca.crt")
        await calls.one_more()


async def test_sighup_asks_everything_that_is_watched(tmp_path: Path, file: Path) -> None:
    (tmp_path / "secrets").mkdir()
    one, two = Calls(), Calls()
    calls = {file: one.changed, tmp_path / "secrets": two.changed}
    async with watch(calls, {path: fingerprint(path) for path in calls}):
        os.kill(os.getpid(), signal.SIGHUP)
        await one.one_more()
        await two.one_more()


async def test_a_link_into_another_folder_is_followed(tmp_path: Path, file: Path) -> None:
    (tmp_path / "etc").mkdir()
    link = tmp_path / "etc" / "aftr.yaml"
    link.symlink_to(file)
    async with watched(link) as calls:
        file.write_text("two")
        await calls.one_more()
        (tmp_path / "three.yaml").write_text("three")
        (tmp_path / "etc" / "new").symlink_to("../three.yaml")
        (tmp_path / "etc" / "new").rename(link)
        await calls.one_more()
        (tmp_path / "three.yaml").write_text("four")
        await calls.one_more()


def test_folders_of_a_config_map(tmp_path: Path) -> None:
    config_map(tmp_path, "1")
    (tmp_path / "pool.yaml").symlink_to("..data/pool.yaml")
    assert folders_of(tmp_path / "pool.yaml") == {tmp_path, tmp_path / "..1"}


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert folders_of(tmp_path / "a") == {tmp_path}


async def test_afterwards_nothing_is_left(file: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    async with watched(file):
        pass
    assert set(os.listdir("/proc/self/fd")) <= before
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
