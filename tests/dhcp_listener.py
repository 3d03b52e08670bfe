"""Asks a DHCPv6 server all the time until told to end, then prints the longest time between two answers, in seconds.

python tests/dhcp_listener.py SERVER LINK
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from ipaddress import IPv6Address

from dslite_operator.distribution.buckets import duid_in
from dslite_operator.distribution.providers.dhcpv6 import Question
from dslite_operator.distribution.providers.errors import SilentError
from dslite_operator.distribution.providers.probe import Prober

PAUSE_S, PATIENCE_S = 0.005, 0.05  # up to 200 questions a second, each given up soon


async def listen(server: IPv6Address, link: IPv6Address, ended: asyncio.Event) -> float:
    prober, asked = Prober(server, first_wait_s=PATIENCE_S, tries=1), Question(duid_in(1, "lastNibble"), link)
    last, longest = time.monotonic(), 0.0
    while not ended.is_set():
        try:
            await prober.ask(asked)
        except SilentError:
            continue
        now = time.monotonic()
        longest, last = max(longest, now - last), now
        await asyncio.sleep(PAUSE_S)
    return max(longest, time.monotonic() - last)


async def main() -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print("listens", flush=True)
    print(await listen(IPv6Address(sys.argv[1]), IPv6Address(sys.argv[2]), ended), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
