"""Captures: what is read, in which order, what is refused and how the refusal reads."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import packets
from aftr.io.errors import CaptureError
from aftr.io.pcap import MAX_FRAME, Capture, CaptureWriter, merge

FRAMES = [
    (1_700_000_000_123_456_000, b"a" * 60),
    (1_700_000_000_123_457_000, b""),
    (1_700_000_001_000_000_000, b"b" * 1514),
]


def pcap(
    order: str = "<", magic: int = 0xA1B2C3D4, network: int = 1, major: int = 2, records: bytes | None = None
) -> bytes:
    unit = 1000 if magic == 0xA1B2C3D4 else 1
    if records is None:
        records = b"".join(
            struct.pack(order + "IIII", time // 10**9, time % 10**9 // unit, len(frame), len(frame)) + frame
            for time, frame in FRAMES
        )
    return struct.pack(order + "IHHiIII", magic, major, 4, 0, 0, 65535, network) + records


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_both_units_and_byte_orders(tmp_path: Path, order: str, magic: int) -> None:
    path = tmp_path / "in.pcap"
    path.write_bytes(pcap(order, magic))
    assert list(Capture(path)) == FRAMES


def test_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "in.pcap"
    path.write_bytes(pcap(records=b""))
    assert list(Capture(path)) == []
    assert list(merge(Capture(path))) == []
    assert list(merge()) == []


def test_frame_cut_by_the_capture_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "in.pcap"
    path.write_bytes(pcap(records=struct.pack("<IIII", 1, 0, 4, 1514) + b"abcd"))
    assert list(Capture(path)) == [(10**9, b"abcd")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "offset 0: a pcap file begins with 24 bytes, this one has 0"),
        (pcap()[:23], "offset 0: a pcap file begins with 24 bytes, this one has 23"),
        (b"\x0a\x0d\x0d\x0a" + bytes(60), "offset 0: 0a0d0d0a is not the magic of a pcap file: convert it by `editcap"),
        (b"#!/bin/sh\n" + bytes(60), "offset 0: 23212f62 is not the magic of a pcap file"),
        (pcap(major=3), "offset 4: pcap version 3.4 is not 2.x"),
        (pcap(network=113), "offset 20: link type 113 is not Ethernet (1)"),
        (pcap()[:-1], "offset 124: the file ends within a frame, 1513 of 1514 bytes"),
        (pcap()[:30], "offset 24: the file ends within a record's header, 6 of 16 bytes"),
        (pcap(records=struct.pack("<IIII", 1, 10**6, 0, 0)), "offset 28: the fraction of a second is 1000000"),
        (pcap(records=struct.pack("<IIII", 1, 0, 61, 60) + bytes(61)), "offset 32: 61 bytes captured of a frame of 60"),
        (
            pcap(records=struct.pack("<IIII", 1, 0, MAX_FRAME + 1, 2**31) + bytes(MAX_FRAME + 1)),
            "offset 32: a frame of 262145 bytes, more than 262144",
        ),
        (pcap(records=struct.pack("<IIII", 1, 0, 2**32 - 1, 2**32 - 1)), "offset 32: a frame of 4294967295 bytes"),
    ],
)
def test_lies_are_refused_with_their_offset(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "in.pcap"
    path.write_bytes(content)
    with pytest.raises(CaptureError) as caught:
        Capture(path)
    assert str(caught.value).startswith(f"{path}, {sentence}")


@given(st.binary(max_size=200), st.integers(0, 24))
def test_garbage_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, tail: bytes, keep: int) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.pcap"
    path.write_bytes(pcap()[:keep] + tail)
    try:
        frames = list(Capture(path))
    except CaptureError:
        return
    assert sum(16 + len(frame) for _, frame in frames) == keep + len(tail) - 24


def test_absent_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"absent.pcap cannot be read: No such file or directory"):
        Capture(tmp_path / "absent.pcap")
    with pytest.raises(CaptureError, match=r"absent.out.pcap cannot be written: No such file or directory"):
        CaptureWriter(tmp_path / "absent" / "out.pcap")


def test_merge_by_time_access_first(tmp_path: Path) -> None:
    access, internet = tmp_path / "access.pcap", tmp_path / "internet.pcap"
    packets.write_pcap(access, [(5, b"a5"), (7, b"a7"), (7, b"a7 again"), (6, b"a6, late in the file")])
    packets.write_pcap(internet, [(4, b"i4"), (7, b"i7"), (9, b"i9")])
    assert [(time, place, frame) for time, place, frame in merge(Capture(access), Capture(internet))] == [
        (4, 1, b"i4"),
        (5, 0, b"a5"),
        (6, 0, b"a6, late in the file"),
        (7, 0, b"a7"),
        (7, 0, b"a7 again"),
        (7, 1, b"i7"),
        (9, 1, b"i9"),
    ]


def test_written_file_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "out.pcap"
    frames = [*FRAMES, (1_700_000_001_000_000_001, b"c")]
    with CaptureWriter(path) as writer:
        for time, frame in frames:
            writer.write(time, frame)
    assert list(Capture(path)) == packets.read_pcap(path) == frames
