"""dnsmasq as a provider: one name for a subnet, in a file of its own that it reads again on SIGHUP (`dhcp-optsfile`).

The name stands there in hexadecimal: from text dnsmasq makes no name of RFC 8415 section 10.  A subnet is known by the tag that its
`dhcp-range` sets; nothing tells DUIDs apart, so a group that is spread over several slots is refused.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from ipaddress import IPv6Network
from pathlib import Path

from dslite_operator.distribution.providers import option64
from dslite_operator.distribution.providers.dhcpv6 import Question
from dslite_operator.distribution.providers.errors import (
    ForeignError,
    ProviderError,
    RefusedError,
    RolledBackError,
    UnreachableError,
    UnsuitableError,
)
from dslite_operator.distribution.providers.probe import Prober
from dslite_operator.distribution.providers.provider import B4, Assignment, Outcome, Timers

OWNER, MAP = "# dslite owner ", "# dslite map "
READS_AGAIN_S = 5.0  # from SIGHUP until it answers by the new file
DUID = bytes.fromhex("000300010264736c0000")  # of a locally administered address: what we ask as


@dataclass(frozen=True)
class DnsmasqPlan:
    """The text of the file, and what B4s on each subnet are then told."""

    text: str
    names: Mapping[IPv6Network, str]


@dataclass(frozen=True)
class Dnsmasq:
    """One dnsmasq on this machine; `tags` has the tag of each subnet's `dhcp-range=set:TAG,…`."""

    owner: str
    options_file: Path
    pid_file: Path
    tags: Mapping[IPv6Network, str]
    prober: Prober

    @property
    def live_update(self) -> bool:
        """It answers while it reads the file."""
        return True

    def render(self, assignments: Sequence[Assignment], as_is: Set[str] = frozenset()) -> DnsmasqPlan:
        """Pure; raises OptionError, ForeignError, UnsuitableError."""
        if as_is:  # its file says of no line whose it is
            raise ForeignError(f"dnsmasq cannot leave groups as they are: {', '.join(sorted(as_is))}")
        names: dict[IPv6Network, str] = {}
        for one in assignments:
            for part in one.parts:
                if part.whole is None or any(area.interface_id for area in part.areas):
                    raise UnsuitableError(
                        f"group {one.group}: dnsmasq tells all B4s of a subnet the same: give it one slot, or use Kea"
                    )
                for area in part.areas:
                    self._tag(area.subnet)
                    if names.setdefault(area.subnet, part.whole) != part.whole:
                        raise ForeignError(
                            f"subnet {area.subnet} is asked for by several groups: give each its own subnets"
                        )
        return DnsmasqPlan(self._text(assignments, names), names)

    def _text(self, assignments: Sequence[Assignment], names: Mapping[IPv6Network, str]) -> str:
        maps = [f"{MAP}{one.group} {one.copy}" for one in assignments if one.copy]
        options = [
            f"tag:{self._tag(subnet)},option6:{option64.CODE},{option64.encode(name).hex(':')}"
            for subnet, name in sorted(names.items())
        ]
        return "\n".join([OWNER + self.owner, *maps, *options]) + "\n"

    def _tag(self, subnet: IPv6Network) -> str:
        if subnet not in self.tags:
            raise ForeignError(
                f"no dhcp-range of dnsmasq is known for subnet {subnet}: give it a tag, or correct dhcp.subnets"
            )
        return self.tags[subnet]

    async def validate(self, plan: DnsmasqPlan) -> None:
        """Raises ForeignError for a file that somebody else wrote, UnreachableError where there is no dnsmasq."""
        self._before()
        self._signal(0)

    async def apply(self, plan: DnsmasqPlan) -> Outcome:
        """Raises ProviderError; then the old file is there again, and read."""
        before = self._before()
        if before == plan.text:
            return Outcome((), "dnsmasq has it all already")
        await self.prober.ask(_question(min(plan.names or self.tags)))
        try:
            self._write(plan.text)
            await self._await(plan.names)
        except ProviderError as error:
            self._write(before)
            raise RolledBackError(f"{error}; what was before is in {self.options_file} again", serves=True) from error
        return Outcome((str(self.options_file),), f"wrote {self.options_file}")

    async def keep(self) -> None:
        """It tells nothing else than what is written."""

    def _before(self) -> str:
        text = self._read()
        if text and text.splitlines()[0] != OWNER + self.owner:
            raise ForeignError(
                f"{self.options_file} is not ours: move what is in it elsewhere, or give us another file"
            )
        return text

    def _read(self) -> str:
        return self.options_file.read_text() if self.options_file.exists() else ""

    def _write(self, text: str) -> None:
        draft = self.options_file.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(self.options_file)
        self._signal(signal.SIGHUP)

    def _signal(self, number: int) -> None:
        try:
            os.kill(int(self.pid_file.read_text()), number)
        except (OSError, ValueError) as error:
            raise UnreachableError(
                f"no dnsmasq by {self.pid_file}: {error}: see that it runs with --pid-file"
            ) from error

    async def _await(self, names: Mapping[IPv6Network, str]) -> None:
        """It has read the file when it answers by it: nothing else says so."""
        end = asyncio.get_running_loop().time() + READS_AGAIN_S
        for subnet, name in names.items():
            while (told := await self.prober.ask(_question(subnet))) != name:
                if asyncio.get_running_loop().time() > end:
                    raise RefusedError(
                        f"a B4 on subnet {subnet} is told {told or 'no name'} by dnsmasq and not {name}: see that its dhcp-range sets "
                        f"tag {self.tags[subnet]} and that it has dhcp-optsfile={self.options_file}"
                    )

    async def observe(self, b4: B4) -> str | None:
        """Raises ProviderError."""
        return await self.prober.ask(_question(b4.subnet, b4.duid))

    async def copies(self) -> dict[str, str]:
        """Raises ForeignError."""
        lines = [line.removeprefix(MAP) for line in self._before().splitlines() if line.startswith(MAP)]
        return dict(line.split(" ", 1) for line in lines)

    async def timers(self) -> dict[IPv6Network, Timers]:
        """It says none."""
        return {}

    async def obstacles(self, assignments: Sequence[Assignment]) -> dict[str, str]:
        """What it could not be told of each by itself."""
        found: dict[str, str] = {}
        for one in assignments:
            try:
                self.render([one])
            except ProviderError as error:
                found[one.group] = str(error)
        return found

    async def ready(self) -> None:
        """At any time."""

    async def revision(self) -> str:
        """What its file says."""
        return self._read()

    async def leases(self) -> None:
        """It shows none."""


def _question(subnet: IPv6Network, duid: bytes = DUID) -> Question:
    return Question(duid, subnet[1])
