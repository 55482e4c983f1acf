"""What can be said of the Dockerfile without building it."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()


def test_the_base_is_pinned_by_digest_and_no_stage_stands_on_another() -> None:
    default = re.search(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert default is not None
    assert re.fullmatch(r"docker\.io/library/debian@sha256:[0-9a-f]{64}", default[1])
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", DOCKERFILE, re.MULTILINE)
    known = {"${BASE}", *(name for _, name in stages if name)}
    assert [base for base, _ in stages if base not in known] == []


def test_the_context_is_what_the_dockerfile_copies_and_no_more() -> None:
    copied = {
        source.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    let_in = {line.removeprefix("!") for line in IGNORED if line.startswith("!")}
    assert IGNORED[1] == "*", "everything is kept out first"
    assert let_in == copied
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)  # noqa: S603
    assert (found.returncode, found.stdout) == (0, "")
