"""The guest's hands, run there as its first process: commands come as JSON lines through a virtio port, and so do their results.

{"command": [...]} is run to its end: {"status": 0, "output": "..."}.  With "log": FILE it is left running: {"pid": 1}.  One at a time.
"""

import glob
import json
import os
import subprocess
from typing import Any

PORT = "/dev/vport*"  # there is one


def obey(request: dict[str, Any]) -> dict[str, Any]:
    """Run what is asked for."""
    if "log" in request:
        with open(request["log"], "wb") as log:
            return {"pid": subprocess.Popen(request["command"], stdout=log, stderr=log, start_new_session=True).pid}
    done = subprocess.run(
        request["command"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return {"status": done.returncode, "output": done.stdout.decode(errors="replace")}


def main() -> None:
    """Say that the guest is up, then serve for ever."""
    port = os.open(glob.glob(PORT)[0], os.O_RDWR)
    with os.fdopen(port, "rb") as requests, os.fdopen(os.dup(port), "wb", buffering=0) as answers:
        answers.write(b"{}\n")
        for line in requests:
            answers.write(json.dumps(obey(json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    main()
