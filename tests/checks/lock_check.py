"""The lock files: written from `pyproject.toml`, and checked to be what it asks for, with a hash for everything.

`python -m tests.checks.lock_check` checks and exits 1 with a reason; `--write` writes them anew (`--upgrade` with newer
versions). The check compiles a copy of each lock again: versions that are pinned and still allowed stay, so the copy
differs only where somebody changed `pyproject.toml` or edited a lock by hand, not because the world moved on.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_UV = Path(sys.executable).with_name("uv")
_COMPILE = ("pip", "compile", "--quiet", "--universal", "--python-version", "3.11")
_EXTRAS = ("--extra", "demo", "--extra", "traces")
_OUTPUT = ("--generate-hashes", "--no-annotate", "--no-header")
_PIN = re.compile(r"^[A-Za-z0-9][\w.\-]*(\[[\w,\-]+\])?==[^\s;]+(\s*;[^\\]+)?$")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}$")
_SHOWN_DIFFERENCES = 20


@dataclass(frozen=True)
class Lock:
    """One lock file and what uv is told to compile it from; paths are relative to the repository."""

    path: str
    sources: tuple[str, ...]


# In this order: each is held to the versions of the one before, because one environment takes all of them.
LOCKS = (
    Lock("requirements.lock", ("pyproject.toml", *_EXTRAS)),
    Lock(
        "tests/requirements.lock",
        ("pyproject.toml", *_EXTRAS, "--group", "dev", "--constraints", "requirements.lock"),
    ),
    Lock(".ci/tools.lock", ("--group", "tools", "--constraints", "tests/requirements.lock")),
    Lock(".ci/audit.lock", ("--group", "audit", "--constraints", "tests/requirements.lock")),
    Lock(
        "tests/benchmarks/requirements.lock",
        ("pyproject.toml", *_EXTRAS, "--group", "bench", "--constraints", "tests/requirements.lock"),
    ),
)


def unhashed_or_unpinned(text: str) -> list[str]:
    """Return the requirements of a lock's text that are not `name==version` followed by SHA-256 hashes."""
    logical_lines = text.replace("\\\n", " ").splitlines()
    wrong = []
    for line in logical_lines:
        requirement, *hashes = [part.strip() for part in re.split(r"\s(?=--hash)", line)]
        if not requirement or requirement.startswith("#"):
            continue
        if not _PIN.match(requirement) or not hashes or not all(map(_HASH.match, hashes)):
            wrong.append(requirement)
    return wrong


def drift(lock: Lock, root: Path = ROOT) -> list[str]:
    """Return the lines of a diff between the lock and what `pyproject.toml` asks for; empty when in step.

    Raises RuntimeError with uv's words when neither uv's cache nor the package index can tell.
    """
    committed = (root / lock.path).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "copy.lock"
        copy.write_text(committed, encoding="utf-8")
        if _compile(lock, copy, root, "--offline").returncode != 0:  # the cache is enough after an installation
            copy.write_text(committed, encoding="utf-8")
            answer = _compile(lock, copy, root)
            if answer.returncode != 0:
                raise RuntimeError(answer.stderr.strip())
        wanted = copy.read_text(encoding="utf-8")
    lines = difflib.unified_diff(committed.splitlines(), wanted.splitlines(), lock.path, "wanted", lineterm="", n=0)
    return list(lines)


def check() -> list[str]:
    """Check every lock and return what is wrong, a sentence each."""
    faults = []
    for lock in LOCKS:
        text = (ROOT / lock.path).read_text(encoding="utf-8")
        faults += [f"{lock.path}: {name} has no exact version or no hash" for name in unhashed_or_unpinned(text)]
        try:
            difference = drift(lock)
        except RuntimeError as unclear:
            faults.append(f"{lock.path} could not be compiled again, so nothing is known about it:\n{unclear}")
            continue
        if difference:
            shown = "\n".join(difference[:_SHOWN_DIFFERENCES])
            faults.append(f"{lock.path} is not what pyproject.toml asks for; run `make lock`:\n{shown}")
    return faults


def write(*options: str) -> None:
    """Compile every lock in place; raises subprocess.CalledProcessError when uv fails, after uv said why."""
    for lock in LOCKS:
        answer = _compile(lock, ROOT / lock.path, ROOT, *options)
        sys.stderr.write(answer.stderr)
        answer.check_returncode()


def _compile(lock: Lock, target: Path, root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(_UV), *_COMPILE, *_OUTPUT, *lock.sources, "--output-file", str(target), *options]
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    return subprocess.run(  # noqa: S603 - our own command line, no shell
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, or write with `--write`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.checks.lock_check", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the locks instead of checking them")
    parser.add_argument("--upgrade", action="store_true", help="with --write: take the newest allowed versions")
    options = parser.parse_args(arguments)
    if options.write:
        write(*(["--upgrade"] if options.upgrade else []))
        return 0
    faults = check()
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    if not faults:
        sys.stdout.write(f"{len(LOCKS)} locks are in step with pyproject.toml, every package with version and hash\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
