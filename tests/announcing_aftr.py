"""An AFTR that only announces, as a program: `python announcing_aftr.py CONFIG RUNTIME_DIR`, inside the AFTR's namespace.

Reads commands, a line each (`announce SLOT EPOCH`, `announce-all EPOCH`, `withdraw SLOT`, `reconfigure CONFIG`,
`log-in SECRET PASSWORD`, `sessions`, `linked`, `seen`, `pid`, `stop`), and answers each with a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from aftr.announce.addresses import read_addresses
from aftr.announce.announcer import Announcer
from aftr.announce.errors import AnnounceError
from dslite_contract.load import load_config


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


async def main(config: Path, runtime_dir: Path) -> None:
    addresses = await read_addresses({"access": "access", "internet": "internet"})
    seen: list[dict[str, str]] = []
    configuration = load_config(config)
    announcer = Announcer(configuration, addresses, runtime_dir, on_sessions=seen.append)
    await announcer.start()
    answer({"started": announcer.bird_pid})
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode().split():
        match line:
            case ["announce", slot, epoch]:
                began = time.monotonic()
                await announcer.announce(int(slot), int(epoch))
                answer({"announced": began, "took": time.monotonic() - began})
            case ["withdraw", slot]:
                began = time.monotonic()
                await announcer.withdraw(int(slot))
                answer({"withdrawn": began})
            case ["announce-all", epoch]:
                began = time.monotonic()
                for number in range(configuration.pool.spec.slots):
                    await announcer.announce(number, int(epoch) + number)
                answer({"announced": began, "took": time.monotonic() - began})
            case ["reconfigure", file]:
                try:
                    await announcer.reconfigure(load_config(Path(file)))
                    answer("reconfigured")
                except AnnounceError as error:
                    answer(str(error))
            case ["log-in", secret, password]:
                await announcer.log_in({secret: password})
                answer("logged in")
            case ["sessions"]:
                answer(await announcer.sessions())
            case ["linked"]:
                answer(await announcer.linked())
            case ["seen"]:
                answer(seen)
            case ["pid"]:
                answer(announcer.bird_pid)
            case ["stop"]:
                await announcer.stop()
                answer("stopped")
                return


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
