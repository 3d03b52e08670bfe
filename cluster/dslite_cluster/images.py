"""Images, built by buildah from the Dockerfile of this repository: what a registry would serve, as archives.

The base is Debian's current release, made by mmdebstrap. Layers are kept in `~/.cache/dslite/containers`, so that an unchanged image takes
seconds, and archives in `~/.cache/dslite/images`, named after the image's id.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dslite_cluster.binaries import Say, binary
from dslite_cluster.tools import CACHE, REPOSITORY, run

BASE = "localhost/debian:trixie-slim"
MIRROR = "http://deb.debian.org/debian"
TARGETS = ("aftr", "operator")  # of the Dockerfile
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")  # of this machine: a network may have its own
STORE = CACHE / "containers"
ARCHIVES = CACHE / "images"
CHART = REPOSITORY / "charts" / "dslite"


@dataclass(frozen=True)
class Image:
    """An image in an archive."""

    name: str
    key: str  # the beginning of its id
    archive: Path

    @property
    def reference(self) -> str:
        """What it is."""
        return f"localhost/dslite/{self.name}:{self.key}"

    @property
    def other_references(self) -> list[str]:
        """What we work on; and what the chart calls it, so that pods find it as in a registry."""
        names = [f"localhost/dslite/{self.name}:dev"]
        if self.name in TARGETS:
            repository = _read(CHART / "values.yaml")["image"][self.name]["repository"]
            names.append(f"{repository}:{_read(CHART / 'Chart.yaml')['appVersion']}")
        return names


def _read(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def build_images(say: Say) -> list[Image]:
    """Every image, built anew where something of it changed. Raises `BuildError`."""
    _ensure_base(say)
    images = [_archive("pause", _build_pause())]
    for target in TARGETS:
        say(f"building image {target} (the first time takes minutes)")
        images.append(_archive(target, _build(target)))
    return images


def _buildah(*words: str | Path) -> str:
    """buildah with a store and mounts of its own, in no container of its own: nothing else on this machine sees it."""
    buildah: list[str | Path] = ["unshare", "--mount", "buildah", "--root", STORE, "--runroot", STORE / "run"]
    return run([*buildah, *words], environment={"BUILDAH_ISOLATION": "chroot"}).strip()


def _ensure_base(say: Say) -> None:
    if BASE in _buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines():
        return
    say("making the base image, Debian trixie")
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    rootfs = ARCHIVES / f"base.{os.getpid()}.tar"
    try:
        run(["mmdebstrap", "--quiet", "--variant=minbase", "trixie", rootfs, MIRROR])
        with _from_scratch() as container:
            _buildah("add", "--quiet", container, rootfs, "/")
            _buildah("commit", "--quiet", container, BASE)
    finally:
        rootfs.unlink(missing_ok=True)


@contextmanager
def _from_scratch() -> Iterator[str]:
    container = _buildah("from", "scratch")
    try:
        yield container
    finally:
        _buildah("rm", container)


def _build_pause() -> str:
    with _from_scratch() as container:
        _buildah("copy", "--quiet", container, binary("pause"), "/pause")
        _buildah("config", "--entrypoint", '["/pause"]', container)
        return _buildah("commit", "--quiet", "--timestamp", "0", container, "localhost/dslite/pause:dev")


def _build(target: str) -> str:
    """The image's id."""
    tag = ["--layers", "--quiet", "--target", target, "--tag", f"localhost/dslite/{target}:dev"]
    return _buildah("bud", *tag, *_with("BASE", BASE), *_authorities(), REPOSITORY).splitlines()[-1]


def _with(name: str, value: str) -> Sequence[str]:
    return ("--build-arg", f"{name}={value}")


def _authorities() -> Sequence[str]:
    """Whom the build trusts when it downloads: whom this machine trusts."""
    inside = "/run/authorities.crt"
    return (f"--volume={AUTHORITIES}:{inside}:ro", *_with("SSL_CERT_FILE", inside)) if AUTHORITIES.exists() else ()


def _archive(name: str, identity: str) -> Image:
    """Write the image's archive unless it is there, and remove those of earlier builds."""
    key = identity.removeprefix("sha256:")[:12]
    image = Image(name, key, ARCHIVES / f"{name}-{key}.tar")
    if not image.archive.exists():
        draft = image.archive.with_suffix(f".{os.getpid()}")
        _buildah("push", "--quiet", identity, f"docker-archive:{draft}:{image.reference}")
        draft.replace(image.archive)
    for earlier in ARCHIVES.glob(f"{name}-*.tar"):
        if earlier != image.archive:
            earlier.unlink()
    return image
