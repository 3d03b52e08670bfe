"""Classic pcap files: read (µs and ns, either byte order, Ethernet), merged by time, and written (ns).

A file is checked as a whole when it is opened, so that a lying one is refused before its first frame has had any effect.
pcapng is refused with the command that converts it.
"""

from __future__ import annotations

import pathlib
import struct
from array import array
from collections.abc import Iterator
from types import TracebackType

import numpy as np

from aftr.io.errors import CaptureError

_MICROSECONDS, _NANOSECONDS, _PCAPNG = 0xA1B2C3D4, 0xA1B23C4D, 0x0A0D0D0A
_HEADER_SIZE, _RECORD_SIZE = 24, 16
_ETHERNET = 1  # LINKTYPE_ETHERNET
MAX_FRAME = 262_144  # MAXIMUM_SNAPLEN of libpcap
NS = 1_000_000_000


class Capture:
    """An open capture: iterating gives (time in ns since the epoch, frame) in the file's order. Raises CaptureError."""

    def __init__(self, path: str | pathlib.Path) -> None:
        self.path = pathlib.Path(path)
        try:
            self._data = self.path.read_bytes()
        except OSError as error:
            raise CaptureError(f"{self.path} cannot be read: {error.strerror}") from error
        self._order, self._unit = self._read_header()
        times, starts, sizes = array("q"), array("q"), array("q")
        for time, start, size in self._read_records():
            times.append(time)
            starts.append(start)
            sizes.append(size)
        self.times = np.array(times, np.int64)
        self._starts, self._sizes = starts, sizes

    def _refuse(self, offset: int, sentence: str) -> CaptureError:
        return CaptureError(f"{self.path}, offset {offset}: {sentence}")

    def _read_header(self) -> tuple[str, int]:
        """Byte order as `struct` spells it, and ns per unit of the times' fraction."""
        if len(self._data) < _HEADER_SIZE:
            raise self._refuse(0, f"a pcap file begins with {_HEADER_SIZE} bytes, this one has {len(self._data)}")
        for order in "<>":
            magic, major, minor, _, _, _, network = struct.unpack_from(order + "IHHiIII", self._data)
            if magic in (_MICROSECONDS, _NANOSECONDS):
                break
        else:
            hint = ": convert it by `editcap -F nsecpcap IN OUT`" if magic == _PCAPNG else ""
            raise self._refuse(0, f"{self._data[:4].hex()} is not the magic of a pcap file{hint}")
        if major != 2:
            raise self._refuse(4, f"pcap version {major}.{minor} is not 2.x")
        if network & 0xFFFF != _ETHERNET:
            raise self._refuse(20, f"link type {network & 0xFFFF} is not Ethernet (1)")
        return order, 1 if magic == _NANOSECONDS else 1000

    def _read_records(self) -> Iterator[tuple[int, int, int]]:
        """(time, offset of the frame, its size) of each record."""
        record, total = struct.Struct(self._order + "IIII"), len(self._data)
        at = _HEADER_SIZE
        while at < total:
            if total - at < _RECORD_SIZE:
                raise self._refuse(at, f"the file ends within a record's header, {total - at} of {_RECORD_SIZE} bytes")
            seconds, fraction, size, original = record.unpack_from(self._data, at)
            if fraction * self._unit >= NS:
                raise self._refuse(at + 4, f"the fraction of a second is {fraction}, {NS // self._unit} or more")
            if size > MAX_FRAME:
                raise self._refuse(at + 8, f"a frame of {size} bytes, more than {MAX_FRAME}")
            if size > original:
                raise self._refuse(at + 8, f"{size} bytes captured of a frame of {original}")
            if size > total - at - _RECORD_SIZE:
                left = total - at - _RECORD_SIZE
                raise self._refuse(at + 8, f"the file ends within a frame, {left} of {size} bytes")
            yield seconds * NS + fraction * self._unit, at + _RECORD_SIZE, size
            at += _RECORD_SIZE + size

    def __len__(self) -> int:
        return len(self._starts)

    def frame(self, number: int) -> bytes:
        """Frame `number`, from 0 in the file's order."""
        start = self._starts[number]
        return self._data[start : start + self._sizes[number]]

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for number in range(len(self)):
            yield int(self.times[number]), self.frame(number)


def merge(*captures: Capture) -> Iterator[tuple[int, int, bytes]]:
    """(time in ns, place of the capture among the arguments, frame), ordered by time.

    At equal times an earlier argument comes first, and within one file the file's order: give the access side first.
    """
    times = np.concatenate([np.empty(0, np.int64), *(capture.times for capture in captures)])
    places = np.repeat(np.arange(len(captures)), [len(capture) for capture in captures])
    numbers = np.concatenate([np.empty(0, np.int64), *(np.arange(len(capture)) for capture in captures)])
    for index in np.argsort(times, kind="stable"):
        place = int(places[index])
        yield int(times[index]), place, captures[place].frame(int(numbers[index]))


class CaptureWriter:
    """A new pcap file with times in ns, a context manager. Raises CaptureError."""

    def __init__(self, path: str | pathlib.Path) -> None:
        self.path = pathlib.Path(path)
        try:
            self._file = open(self.path, "wb")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise CaptureError(f"{self.path} cannot be written: {error.strerror}") from error
        self._file.write(struct.pack("<IHHiIII", _NANOSECONDS, 2, 4, 0, 0, MAX_FRAME, _ETHERNET))

    def write(self, time_ns: int, frame: bytes) -> None:
        seconds, fraction = divmod(time_ns, NS)
        try:
            self._file.write(struct.pack("<IIII", seconds, fraction, len(frame), len(frame)) + frame)
        except OSError as error:
            raise CaptureError(f"{self.path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise CaptureError(f"{self.path} cannot be written: {error.strerror}") from error

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
