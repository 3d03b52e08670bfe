"""`aftr replay`: captures in, captures out, the times of the frames as the clock; the same again gives the same bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import packets
from aftr.ops.cli import main
from rig import AFTR, B4, HOST, SERVER, b4, config_text, inner_of

MS = 1_000_000
SECOND = 1000 * MS
START = 1_700_000_000 * SECOND
Timed = tuple[int, bytes]
BINDING = {
    "softwire": B4, "protocol": "udp", "internalAddress": HOST, "internalPort": 4000,
    "externalAddress": "192.0.2.3", "externalPort": 2000,
}  # fmt: skip


def up(port: int = 4000, *, subscriber: int = 1, body: Any = None) -> bytes:
    """A UDP packet (or another body) from a B4 to the server, as a frame."""
    inner = packets.ipv4(body or packets.udp(port, 53, b"question"), src=HOST, dst=SERVER)
    return packets.eth(packets.ipv6(inner, src=b4(subscriber), dst=AFTR, next_header=packets.IPIP))


def down(address: str, port: int, *, body: Any = None) -> bytes:
    return packets.eth(packets.ipv4(body or packets.udp(53, port, b"answer"), src=SERVER, dst=address))


@dataclass
class Replay:
    """A folder with a configuration, in which `aftr replay` runs."""

    folder: Path

    def write(self, name: str, frames: list[Timed]) -> str:
        packets.write_pcap(self.folder / name, frames)
        return str(self.folder / name)

    def invoke(
        self,
        access: list[Timed] | None = None,
        internet: list[Timed] | None = None,
        *options: str,
        spec: dict[str, Any] | None = None,
    ) -> Result:
        (self.folder / "pool.yaml").write_text(config_text(spec))
        words = ["replay", "--config", str(self.folder / "pool.yaml")]
        words += ["--access-out", str(self.folder / "access-out.pcap")]
        words += ["--internet-out", str(self.folder / "internet-out.pcap")]
        words += ["--counters", str(self.folder / "counters.json")]
        if access is not None:
            words += ["--access", self.write("access.pcap", access)]
        if internet is not None:
            words += ["--internet", self.write("internet.pcap", internet)]
        return CliRunner().invoke(main, [*words, *options])

    def run(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """The counters of a replay that must succeed."""
        result = self.invoke(*arguments, **named)
        assert result.exit_code == 0, result.output
        counters: dict[str, Any] = json.loads((self.folder / "counters.json").read_text())
        return counters

    def refusal(self, *arguments: Any, **named: Any) -> str:
        """What a replay says that must be refused; nothing was written."""
        result = self.invoke(*arguments, **named)
        assert result.exit_code == 1, result.output
        assert not (self.folder / "access-out.pcap").exists()
        return result.stderr

    def out(self, side: str) -> list[Timed]:
        return packets.read_pcap(self.folder / f"{side}-out.pcap")


@pytest.fixture
def replay(tmp_path: Path) -> Replay:
    return Replay(tmp_path)


def bindings_file(replay: Replay, entries: Any) -> tuple[str, str]:
    (replay.folder / "bindings.json").write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return "--bindings", str(replay.folder / "bindings.json")


# ---------------------------------------------------------------- what goes through
def test_an_output_frame_carries_the_time_of_the_frame_that_caused_it(replay: Replay) -> None:
    times = [START, START + 7, START + 3 * MS + 1]
    counters = replay.run([(time, up(4000 + number)) for number, time in enumerate(times)])
    assert [time for time, _ in replay.out("internet")] == times
    assert replay.out("access") == []
    assert counters["access"]["forwarded"] == counters["internet"]["tx"] == 3
    assert set(counters) == {"access", "internet", "drops", "events"}


def test_outputs_have_the_order_of_the_input(replay: Replay) -> None:
    """A hundred frames of one instant and of one millisecond keep their order."""
    bodies = [packets.udp(5000 + number, 53, number.to_bytes(2, "big")) for number in range(600)]
    replay.run([(START + number // 2, up(body=body)) for number, body in enumerate(bodies)])
    sent = [packets.IPv4(frame[14:]) for _, frame in replay.out("internet")]
    assert [packet.payload[-2:] for packet in sent] == [number.to_bytes(2, "big") for number in range(600)]


def test_a_preloaded_binding_serves_both_directions(replay: Replay) -> None:
    options = bindings_file(replay, [BINDING])
    counters = replay.run([(START + 1, up())], [(START, down("192.0.2.3", 2000))], *options)
    (answered, inbound), (asked, outbound) = replay.out("access")[0], replay.out("internet")[0]
    assert (answered, asked) == (START, START + 1)
    assert (str(inner_of(("access", inbound)).dst), inner_of(("access", inbound)).dport) == (HOST, 4000)
    packet = packets.IPv4(outbound[14:])
    assert (str(packet.src), packet.sport) == ("192.0.2.3", 2000)
    assert counters["events"]["mappings-created"] <= 1


@pytest.mark.parametrize("apart", [0, 1])
def test_at_equal_times_the_access_side_comes_first(replay: Replay, apart: int) -> None:
    """The SYN from inside opens the way for the one from outside of the same instant, not for an earlier one."""
    filtered = {"nat": {"filtering": "address-and-port-dependent"}}
    options = bindings_file(replay, [BINDING])
    counters = replay.run([(START + apart, up())], [(START, down("192.0.2.3", 2000))], *options, spec=filtered)
    assert counters["drops"]["drop-filtered"] == apart


def test_sides_take_turns_within_a_millisecond(replay: Replay) -> None:
    filtered = {"nat": {"filtering": "address-and-port-dependent"}}
    inbound = down("192.0.2.3", 2000)
    options = bindings_file(replay, [BINDING])
    counters = replay.run([(START + 2, up())], [(START + 1, inbound), (START + 3, inbound)], *options, spec=filtered)
    assert counters["drops"]["drop-filtered"] == 1
    assert [time for time, _ in replay.out("access")] == [START + 3]


def test_timers_expire_between_frames(replay: Replay) -> None:
    late = START + 302 * SECOND
    options = bindings_file(replay, [BINDING])
    counters = replay.run([], [(START, down("192.0.2.3", 2000)), (late, down("192.0.2.3", 2000))], *options)
    assert [time for time, _ in replay.out("access")] == [START]
    assert counters["events"]["mappings-removed"] == 1
    assert counters["drops"]["drop-no-mapping"] == 1


def test_frames_caused_by_the_clock_come_first_with_the_time_that_moved_it(replay: Replay) -> None:
    """A held SYN (RFC 5382 REQ-4) is answered six seconds later: at the next frame's time, before its own output."""
    syn = down("192.0.2.9", 3000, body=packets.tcp(80, 3000, flags=packets.SYN))
    moved = START + 7 * SECOND
    replay.run([(moved, up())], [(START, syn)], spec={"nat": {"unsolicitedSyn": "icmp"}})
    found = replay.out("internet")
    assert [time for time, _ in found] == [moved, moved]
    assert [packets.IPv4(frame[14:]).protocol for _, frame in found] == [1, 17]


def test_a_frame_longer_than_any_packet_is_padding_at_its_end(replay: Replay) -> None:
    counters = replay.run([(START, up() + bytes(200_000))])
    assert counters["access"]["forwarded"] == 1


def test_empty_captures_are_replayed(replay: Replay) -> None:
    counters = replay.run([], [])
    assert counters["access"]["rx"] == counters["internet"]["rx"] == 0
    assert replay.out("access") == replay.out("internet") == []


# ---------------------------------------------------------------- deterministic
def mixed() -> tuple[list[Timed], list[Timed]]:
    access = [(START + number * MS // 3, up(6000 + number % 90, subscriber=number % 7)) for number in range(500)]
    internet = [(START + number * MS, down("192.0.2.3", 1024 + 7 * number)) for number in range(200)]
    return access, internet


def test_same_inputs_and_seed_give_the_same_bytes(replay: Replay) -> None:
    names = ("access-out.pcap", "internet-out.pcap", "counters.json")
    results = []
    for seed in ("0", "0", "1"):
        replay.run(*mixed(), "--seed", seed)
        results.append([(replay.folder / name).read_bytes() for name in names])
    assert results[0] == results[1]
    assert results[0][1] != results[2][1]


def test_a_burst_is_the_same_as_its_frames_one_by_one(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    replay.run(*mixed())
    bursts = [replay.out(side) for side in ("access", "internet")]
    monkeypatch.setattr("aftr.ops.replay.BURST", 1)
    replay.run(*mixed())
    assert [replay.out(side) for side in ("access", "internet")] == bursts


# ---------------------------------------------------------------- what is printed
def test_counters_are_printed(replay: Replay) -> None:
    result = replay.invoke([(START, up())], None, "-o", "json")
    assert json.loads(result.stdout) == json.loads((replay.folder / "counters.json").read_text())
    table = replay.invoke([(START, up())]).stdout
    assert "mappings-created" in table
    assert "\x1b" not in table


# ---------------------------------------------------------------- what is refused
def test_nothing_to_replay_is_a_usage_error(replay: Replay) -> None:
    result = replay.invoke()
    assert result.exit_code == 2
    assert "--access FILE, --internet FILE or both" in result.stderr


def test_a_missing_capture_is_refused(replay: Replay) -> None:
    sentence = replay.refusal(None, None, "--access", "/nowhere.pcap")
    assert sentence == "aftr: /nowhere.pcap cannot be read: No such file or directory\n"


def test_every_problem_of_a_configuration_has_its_line(replay: Replay) -> None:
    lines = replay.refusal([], spec={"slots": 3, "softwire": {"tunnelMtu": 7}}).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("aftr: AftrPool test: spec.") for line in lines)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ("[{", "is not JSON"),
        ("{}", "a list of bindings is needed"),
        ("[1]", "a list of bindings is needed"),
        ([{"softwire": B4}], "it needs softwire, protocol"),
        ([BINDING | {"externalAddress": "198.51.100.9"}], "outside the pool"),
        ([BINDING, BINDING], "collides"),
        ([BINDING | {"softwire": "2001:db8:ffff::1"}], "is not admitted"),
    ],
)
def test_bindings_that_cannot_be_are_refused(replay: Replay, entries: Any, sentence: str) -> None:
    assert sentence in replay.refusal([], None, *bindings_file(replay, entries))


def test_no_file_is_both_read_and_written(replay: Replay) -> None:
    name = replay.write("same.pcap", [])
    sentence = replay.refusal(None, None, "--access", name, "--internet-out", name)
    assert f"--access and --internet-out name the same file, {name}" in sentence


def test_outputs_may_be_thrown_away(replay: Replay) -> None:
    discarded = ["--access-out", "/dev/null", "--internet-out", "/dev/null"]
    assert replay.invoke([(START, up())], None, *discarded).exit_code == 0
