"""Status port, control socket and `aftr show`, with an agent that has an engine without devices."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

import packets
from aftr.ops import snapshot, status
from aftr.ops.engine import Engine
from aftr.ops.status import StatusError, open_port, serve_status
from aftr.state.pod import Pod
from dslite_contract.counters import DROP_NAMES, EVENT_NAMES, TRAFFIC
from dslite_contract.load import load_config
from dslite_contract.signing import DIGEST, SIGNATURE, digest, question, signature
from dslite_operator.answers import is_status
from rig import HOST, SERVER, b4, config_text, slot_address

AFTR = Path(sys.executable).with_name("aftr")
MAPPINGS = 60


class Agent:
    """What `aftr.ops.agent.Agent` shows, settable."""

    def __init__(self, pod: Pod) -> None:
        self.pod, self.started, self.config_hash = pod, 1_700_000_000.0, "abcd"
        self.last_error: str | None = None
        self.reasons: list[str] = []
        self.lives, self.moves, self.loops = True, True, 0
        self.problems: list[str] = []
        self.member = None
        self.store: dict[str, Any] | None = None
        self.sessions: dict[str, str] = {}
        self.key: bytes | None = None

    def question_key(self) -> bytes | None:
        return self.key

    def alive(self) -> bool:
        return self.lives

    def missing(self) -> list[str]:
        return self.reasons

    def verify(self) -> list[str]:
        return self.problems

    def store_state(self) -> dict[str, Any] | None:
        return self.store

    def slot_states(self) -> list[dict[str, Any]]:
        return []

    def worker_states(self) -> list[dict[str, Any]]:
        self.loops += self.moves
        counts = {"loops": self.loops, "packets": 5, "busySeconds": 1.5, "framesFree": 4096}
        return [{"worker": 0, "core": 1, "slots": [0, 1], **counts}]

    def interface_states(self) -> list[dict[str, Any]]:
        shared = {"mode": "native", "mtu": 1500, "vlan": 0, "up": True, "counters": {"received": 7}}
        return [{"interface": side, "side": side, "device": f"eth-{side}", **shared} for side in ("access", "internet")]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Two slots, 60 UDP mappings of three B4s in slot 0."""
    engine = Engine(load_config(config_text({"slots": 2})))
    frames = []
    for number in range(MAPPINGS):
        inner = packets.ipv4(packets.udp(5000 + number, 53, b"?"), src=HOST, dst=SERVER)
        outer = packets.ipv6(inner, src=b4(number % 3), dst=slot_address(0), next_header=packets.IPIP)
        frames.append(("access", packets.eth(outer)))
    engine.process(frames, 0)
    yield engine
    engine.close()


@pytest.fixture
def agent(engine: Engine) -> Agent:
    return Agent(engine.pod)


def free_port() -> int:
    with closing(socket.socket(socket.AF_INET6)) as probe:
        probe.bind(("::1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
async def url(agent: Agent, tmp_path: Path) -> AsyncIterator[str]:
    address = f"[::1]:{free_port()}"
    async with serve_status(agent, address, tmp_path / "run" / "aftr.sock"):
        yield f"http://{address}"


async def get(url: str, **headers: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.text()


# ---------------------------------------------------------------- pages
async def test_softwires_with_mappings_are_listed_with_their_sessions(url: str) -> None:
    status, text = await get(f"{url}/v1/softwires")
    assert status == 200
    found = {one["softwire"]: (one["slot"], one["sessions"]) for one in json.loads(text)}
    assert found == {b4(number): (0, MAPPINGS // 3) for number in range(3)}


async def test_metrics_have_every_counter(url: str, engine: Engine) -> None:
    code, text = await get(f"{url}/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert code == 200
    assert {f"dslite_{name}_frames" for name in TRAFFIC} <= set(families)
    assert {sample.labels["reason"] for sample in families["dslite_drops"].samples} == set(DROP_NAMES)
    assert {sample.labels["event"] for sample in families["dslite_events"].samples} == set(EVENT_NAMES)
    values = {(s.name, *s.labels.values()): s.value for family in families.values() for s in family.samples}
    assert values["dslite_rx_frames_total", "access"] == MAPPINGS
    assert values["dslite_events_total", "mappings-created"] == MAPPINGS
    assert values["dslite_slot_table_entries", "0", "mappings"] == MAPPINGS
    assert values["dslite_slot_port_blocks", "0"] == 8 * 252
    assert values["dslite_slot_port_blocks_free", "0"] == 8 * 252 - 3
    assert values["dslite_port_utilisation_ratio",] == pytest.approx(3 / (16 * 252))
    assert values["dslite_worker_frames_free", "0"] == 4096
    assert values["dslite_ready",] == 1
    assert ("process_resident_memory_bytes",) in values


async def test_metrics_are_documented(url: str) -> None:
    document = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(dslite_\w+)` \| ([\w, ]*) ?\| ", document, re.MULTILINE)
    _, text = await get(f"{url}/metrics")
    said: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("dslite_"):
                said.setdefault(sample.name, set()).update(sample.labels)
    assert {name: set(filter(None, labels.strip().split(", "))) for name, labels in rows} == said


async def test_metrics_are_negotiated(url: str) -> None:
    _, text = await get(f"{url}/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


async def test_status_is_the_pod_in_json(url: str, agent: Agent) -> None:
    agent.reasons, agent.last_error = ["interface access is down"], "spec.slots is wrong"
    _, text = await get(f"{url}/status")
    found = json.loads(text)
    assert found["config"] == {"hash": "abcd", "generation": 1, "lastError": "spec.slots is wrong"}
    assert (found["ready"], found["missing"]) == (False, ["interface access is down"])
    assert [one["mode"] for one in found["interfaces"]] == ["native", "native"]
    assert found["slots"][0]["mappings"] == MAPPINGS
    assert 0 <= found["workers"][0]["utilisation"] <= 1
    assert found["pool"] == "test"
    assert is_status(found), "the operator takes it"


async def test_healthz_wants_workers_that_move(url: str, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await get(f"{url}/healthz") == (200, "alive\n")
    monkeypatch.setattr(status, "MOVE_S", 0.2)
    agent.moves = False
    assert await get(f"{url}/healthz") == (503, "worker 0 has not moved for 0.2 seconds\n")
    agent.lives = False
    assert (await get(f"{url}/healthz"))[0] == 503


async def test_readyz_says_what_is_missing(url: str, agent: Agent) -> None:
    assert await get(f"{url}/readyz") == (200, "ready\n")
    agent.reasons = ["interface access is down", "no next hop is resolved on interface internet"]
    code, text = await get(f"{url}/readyz")
    assert (code, text.splitlines()) == (503, agent.reasons)


async def test_a_store_that_is_in_trouble_is_named_by_those_who_serve_on(url: str, agent: Agent) -> None:
    assert json.loads((await get(f"{url}/status"))[1])["store"] is None
    agent.store = {"reachable": False, "trouble": "store x answered 'OOM'; raise maxmemory", "warnings": []}
    assert await get(f"{url}/readyz") == (200, "ready\nbut store x answered 'OOM'; raise maxmemory\n")
    assert json.loads((await get(f"{url}/status"))[1])["store"] == agent.store


@pytest.mark.parametrize("page", ["bindings", "subscribers", "slots", "counters", "verify", "lookup"])
async def test_subscribers_are_not_shown_to_the_network(url: str, page: str) -> None:
    assert (await get(f"{url}/v1/{page}"))[0] == 404


async def check(url: str, text: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/v1/check", data=text) as answer:
        return answer.status, await answer.json()


async def test_how_many_mappings_another_configuration_would_end(url: str, agent: Agent) -> None:
    running = agent.pod.configuration
    pool, *groups = [
        one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in (running.pool, *running.groups)
    ]
    assert await check(url, "\n---\n".join(map(json.dumps, [pool, *groups]))) == (200, {"lost": 0})
    assert await check(url, json.dumps(pool)) == (200, {"lost": MAPPINGS})
    status, answer = await check(url, "kind: AftrPool")
    assert status == 400
    assert "missing" in answer["error"]


@pytest.mark.parametrize(("method", "page"), [("GET", "/v1/softwires"), ("POST", "/v1/check")])
async def test_what_is_asked_about_subscribers_is_signed(url: str, agent: Agent, method: str, page: str) -> None:
    key, body = b"the pool's", b"kind: AftrPool" if method == "POST" else b""
    its, told = digest(body), 400 if method == "POST" else 200  # that it is no configuration is said
    asked = question(method, page, its)
    wanted, unsigned = signature(key, asked), ""
    of_another = digest(b"x")
    others = [
        signature(b"another", asked),
        signature(key, question(method, page, of_another)),
        signature(key, body),
        "\xe9",
    ]

    async def ask(given: str, said: str = its) -> tuple[int, str]:
        headers = {SIGNATURE: given, DIGEST: said} if given else {}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{url}{page}", data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    agent.key = key
    assert (await ask(wanted))[0] == told
    refused = [(given, its) for given in (*others, unsigned)] + [(wanted, "\xe9"), (others[1], of_another)]
    for given, said in refused:
        assert await ask(given, said) == (403, "not signed with the operator's key for this pool\n")
    agent.key = b""  # the Secret is missing
    for given in (wanted, signature(b"", asked), unsigned):
        assert await ask(given) == (403, "the Secret with the operator's key for this pool is missing\n")
    agent.key = None  # no pod, or one of an older template
    assert [(await ask(given))[0] for given in (wanted, unsigned)] == [told, told]


async def test_of_a_strangers_question_no_body_is_read(url: str, agent: Agent) -> None:
    """Who says that there is a megabyte, and sends nothing of it, is refused at once."""
    agent.key = b"the pool's"
    reader, writer = await asyncio.open_connection("::1", int(url.rpartition(":")[2]))
    head = f"POST /v1/check HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n{SIGNATURE}: 00\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(5):
        assert (await reader.readline()).split()[1] == b"403"
    writer.close()
    await writer.wait_closed()


async def test_utilisation_is_that_of_late(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "SAMPLE_S", 0.05)
    utilisation: dict[int, float] = {}
    app = status.make_app(agent, utilisation, control=False)
    busy = iter(range(1000))
    monkeypatch.setattr(agent, "worker_states", lambda: [{"worker": 0, "busySeconds": 0.01 * next(busy)}])
    task = asyncio.create_task(status.sample_utilisation(app))
    await asyncio.sleep(0.3)
    task.cancel()
    assert 0.02 < utilisation[0] < 0.3


# ---------------------------------------------------------------- aftr show
@pytest.fixture
async def control(agent: Agent, tmp_path: Path) -> AsyncIterator[Path]:
    async with serve_status(agent, None, tmp_path / "run" / "aftr.sock"):
        yield tmp_path / "run" / "aftr.sock"


async def aftr(*words: str) -> tuple[int, str, str]:
    """`aftr WORDS`, while this process answers."""

    def call() -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(AFTR), *words], capture_output=True, text=True, timeout=60, check=False)

    done = await asyncio.to_thread(call)
    return done.returncode, done.stdout, done.stderr


async def show(control: Path, *words: str) -> Any:
    code, out, err = await aftr("show", *words, "--socket", str(control), "-o", "json")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize("piece", [1 << 12, 7])
async def test_bindings(control: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(snapshot, "PIECE", piece)
    found = await show(control, "bindings")
    assert found == engine.bindings()
    assert len(found) == MAPPINGS


async def test_bindings_are_chosen(control: Path) -> None:
    of_one = await show(control, "bindings", "--softwire", b4(1))
    assert {entry["softwire"] for entry in of_one} == {b4(1)}
    assert len(of_one) == MAPPINGS // 3
    assert len(await show(control, "bindings", "--softwire", "2001:db8:1000::/40")) == MAPPINGS
    assert await show(control, "bindings", "--softwire", "2001:db8:1001::/48") == []
    assert await show(control, "bindings", "--slot", "1") == []
    assert len(await show(control, "bindings", "--slot", "0", "--limit", "5")) == 5


async def test_other_tables(control: Path, engine: Engine) -> None:
    assert await show(control, "counters") == engine.counters()
    assert [entry["mappings"] for entry in await show(control, "slots")] == [MAPPINGS, 0]
    subscribers = await show(control, "subscribers")
    assert [entry["mappings"] for entry in subscribers] == [MAPPINGS // 3] * 3
    assert {entry["group"] for entry in subscribers} == {"homes"}


@pytest.mark.parametrize("what", ["slots", "bindings", "subscribers", "counters"])
async def test_people_get_a_table_without_colours_in_a_pipe(control: Path, what: str) -> None:
    code, out, err = await aftr("show", what, "--socket", str(control))
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert len(out.splitlines()) > 3
    assert "…" not in out


async def test_a_long_table_says_that_there_is_more(control: Path) -> None:
    _, out, _ = await aftr("show", "bindings", "--socket", str(control), "--limit", "4")
    assert out.count("udp") == 4
    assert "--limit 0 shows all" in out


async def test_lookup_names_who_has_an_endpoint(control: Path, engine: Engine) -> None:
    entry = engine.bindings()[7]
    endpoint = (entry["externalAddress"], str(entry["externalPort"]))
    code, out, _ = await aftr("lookup", *endpoint, "udp", "--socket", str(control), "-o", "json")
    assert (code, json.loads(out)) == (0, [entry])
    assert entry["softwire"] in (await aftr("lookup", *endpoint, "udp", "--socket", str(control)))[1]
    code, out, _ = await aftr("lookup", *endpoint, "tcp", "--socket", str(control))
    assert (code, out) == (0, f"nobody has {endpoint[0]} {endpoint[1]} tcp on this AFTR now\n")
    code, _, err = await aftr("lookup", "192.0.2.256", "1", "udp", "--socket", str(control))
    assert (code, err) == (1, "aftr: address '192.0.2.256' is not an IPv4 address\n")


async def test_verify_says_what_does_not_hold(control: Path, agent: Agent) -> None:
    words = ("verify", "--socket", str(control))
    assert await aftr(*words) == (0, "all tables agree\n", "")
    agent.problems = ["1 of 4096 frames leaked", "slot 0: block 7: its counts are not those of its mappings"]
    assert await aftr(*words) == (1, "", "".join(f"aftr: {problem}\n" for problem in agent.problems))
    code, out, _ = await aftr(*words, "-o", "json")
    assert (code, json.loads(out)) == (1, agent.problems)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--slot", "9"], 1, "aftr: slot 9 does not exist: AftrPool test has 0 to 1"),
        (["--softwire", "10.0.0.1"], 2, "neither an IPv6 address nor a prefix"),
        (["--limit", "-1"], 2, "-1 is not in the range"),
    ],
)
async def test_queries_that_cannot_be(control: Path, words: list[str], code: int, sentence: str) -> None:
    found, _, err = await aftr("show", "bindings", "--socket", str(control), *words)
    assert found == code
    assert sentence in err
    assert "Traceback" not in err


async def test_no_aftr_there() -> None:
    code, _, err = await aftr("show", "slots", "--socket", "/nowhere/aftr.sock")
    assert code == 1
    assert err == (
        "aftr: no AFTR answers at /nowhere/aftr.sock (No such file or directory): start `aftr run`, or name its --socket\n"
    )


async def test_help_does_not_import_the_packet_path() -> None:
    code, out, _ = await aftr("--help")
    assert code == 0
    assert all(name in out for name in ("run", "show", "lookup", "verify", "replay", "b4", "kernels"))
    program = "import sys, aftr.ops.cli, aftr.ops.show; print('numba' in sys.modules)"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n"


# ---------------------------------------------------------------- sockets
async def test_the_socket_is_for_its_group_and_goes_with_the_process(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "new" / "aftr.sock"
    async with serve_status(agent, None, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


async def test_a_socket_left_behind_is_replaced(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "aftr.sock"
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(path))
    async with serve_status(agent, None, path):
        assert (await show(path, "counters"))["access"]["rx"] == MAPPINGS


async def test_a_socket_in_use_is_refused(agent: Agent, control: Path) -> None:
    with pytest.raises(StatusError, match="is in use"):
        async with serve_status(agent, None, control):
            pass
    assert control.exists()


async def test_a_file_in_the_way_is_refused(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "aftr.sock").write_text("mine")
    with pytest.raises(StatusError, match="is no socket"):
        async with serve_status(agent, None, tmp_path / "aftr.sock"):
            pass
    assert (tmp_path / "aftr.sock").read_text() == "mine"


@pytest.mark.parametrize("address", ["9464x", "[::]", "host:70000", "", "[::1]:"])
def test_a_status_address_that_is_none(address: str) -> None:
    with pytest.raises(StatusError, match="such as"):
        open_port(address)


def test_a_status_port_in_use_is_refused() -> None:
    with closing(open_port("[::1]:0")) as first:
        address = f"[::1]:{first.getsockname()[1]}"
        with pytest.raises(StatusError, match="Address already in use"):
            open_port(address)


def test_all_addresses_means_both_families() -> None:
    with closing(open_port("[::]:0")) as port, closing(socket.socket(socket.AF_INET)) as client:
        client.connect(("127.0.0.1", port.getsockname()[1]))


async def test_nothing_is_left_open(agent: Agent, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with serve_status(agent, "[::1]:0", tmp_path / "aftr.sock"):
        pass
    assert len(os.listdir("/proc/self/fd")) <= before
