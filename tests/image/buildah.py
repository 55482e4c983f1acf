"""The image, built as a person builds it, and its root opened for a look and a run; without a daemon or a registry.

`make test-image` makes the base, once. Everything built stands in a folder of the test's own, and goes with it. A
machine whose TLS trusts authorities of its own names them in `SSL_CERT_FILE`; the build then trusts them too.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
BASE_TAR: Final = ROOT / ".cache/image/base.tar"
READ_ONLY_ROOT: Final = Path(__file__).with_name("read_only_root.sh")
BUILD_SECONDS: Final = 900.0
BASE: Final = "localhost/debian"
TAG: Final = "localhost/cordboard"
APART: Final = (".git", ".venv", ".cache", "__pycache__", ".*_cache", ".hypothesis", ".env*", "*.db*")
AUTHORITIES: Final = "/usr/local/share/ca-certificates/of-this-machine.crt"


class BuildFailedError(RuntimeError):
    """A step did not end well; the message carries the end of what it said."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """A built image: what it says of itself, and its files under `root`."""

    root: Path
    document: Mapping[str, Any]
    """The image's own description in Docker's format: `config`, `history`, …"""
    added_bytes: int
    """How much it adds to its base, uncompressed."""

    @property
    def config(self) -> Mapping[str, Any]:
        """What a container runtime goes by: `User`, `Entrypoint`, `Env`, …"""
        config: Mapping[str, Any] = self.document["config"]
        return config

    def run(
        self, command: Sequence[str], *, seconds: float = 120.0, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the image's user in its read-only root, with its own environment and `environ`."""
        uid, gid = self.config["User"].split(":")
        (volume,) = self.config["Volumes"]
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        strict = [str(READ_ONLY_ROOT), str(self.root), volume, uid, gid]
        return subprocess.run(  # noqa: S603 - our own script, as root on purpose
            [*apart, *strict, *command],
            env=dict(entry.split("=", 1) for entry in self.config["Env"]) | dict(environ or {}),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )


class Buildah:
    """Debian's buildah with its store in `folder`; it needs root, and no more than that."""

    def __init__(self, folder: Path) -> None:
        store = ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
        self.command = ["buildah", *store]
        (folder / "tmp").mkdir(parents=True)
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(folder / "tmp"),
        }

    def import_base(self) -> None:
        """Make `BASE` of the tar. Raises BuildFailedError."""
        if not BASE_TAR.is_file():
            raise BuildFailedError(f"{BASE_TAR} is missing; `make test-image` makes it")
        container = self("from", "scratch")
        self("add", "--quiet", container, str(BASE_TAR), "/")
        self("commit", "--quiet", "--rm", container, BASE)

    def make_image(self, context: Path, *, revision: str) -> None:
        """`make image` in `context`, on `BASE`, told which `revision` it is. Raises BuildFailedError."""
        options = ["--pull-never"]
        if authorities := os.environ.get("SSL_CERT_FILE"):
            options += ["--volume", f"{authorities}:{AUTHORITIES}:ro"]
        told = {"ENGINE": shlex.join(self.command), "ARGS": shlex.join(options), "BASE": BASE, "TAG": TAG}
        variables = [f"{name}={value}" for name, value in {**told, "REVISION": revision}.items()]
        self._run(["make", "--directory", str(context), "image", *variables])

    def open_image(self) -> Image:
        """The image `TAG`. Raises BuildFailedError."""
        container = self("from", "--pull-never", TAG)
        described = json.loads(self("inspect", "--type", "image", TAG))
        layers = json.loads(described["Manifest"])["layers"]
        return Image(
            root=Path(self("mount", container)),
            document=json.loads(described["Config"]),
            added_bytes=sum(layer["size"] for layer in layers[1:]),
        )

    def __call__(self, *arguments: str) -> str:
        """What buildah prints. Raises BuildFailedError."""
        return self._run([*self.command, *arguments])

    def _run(self, command: Sequence[str]) -> str:
        done = subprocess.run(  # noqa: S603 - programs found on the path, no shell
            command, env=self._environ, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
        if done.returncode != 0:
            raise BuildFailedError(f"{shlex.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done.stdout.strip()


def copy_context(folder: Path) -> None:
    """The repository as somebody has it who has just cloned it."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*APART), symlinks=True)
