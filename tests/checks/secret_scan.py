"""The secret scan: no key, password or token in any file of the repository, committed or about to be.

`python -m tests.checks.secret_scan` looks through what git tracks and what it would add, and exits 1 with file, line
and kind of every find (never the secret itself). Test data that must look like a secret says so: a line that carries
`FAKE`, or `EXAMPLE` as the examples published by vendors do, is passed over.
"""

import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_MARKS = ("FAKE", "EXAMPLE")

_KINDS = {
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----",
    "Cordboard token": r"\bcord_[A-Za-z0-9_\-]{43}(?![A-Za-z0-9_\-])",
    "age secret key": r"AGE-SECRET-KEY-1[0-9A-Z]{20,}",
    "Tencent Cloud SecretId": r"\bAKID[A-Za-z0-9]{12,}",
    "AWS access key id": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "bearer token": r"(?i)\bbearer[ \t]+[a-z0-9._~+/\-]{16,}=*",
    "JSON web token": r"\beyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]*",
    "GitHub token": r"\b(gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,})",
    "GitLab token": r"\bglpat-[A-Za-z0-9_\-]{20,}",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}",
    "PyPI token": r"\bpypi-AgEI[A-Za-z0-9_\-]{20,}",
    "Google API key": r"\bAIza[0-9A-Za-z_\-]{35}",
    "password in an address": r"\b[a-z][a-z0-9+.\-]*://[^\s/:@'\"{}<>$]+:[^\s/@'\"{}<>$]{3,}@",
}
KNOWN_KINDS = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}
# A literal given to something that is named like a secret: `secret_key = "…"`, `"password": "…"`, `ACCESS_KEY: …`
_ASSIGNED = re.compile(
    r"(?i)(?:secret|passw(?:or)?d|token|api_?key|access_?key|private_?key|credential|\bsk|\bak)[a-z_]*['\"]?\s*"
    r"(?::(?!:)|=(?!=)|:\s*\w+\s*=)\s*[frb]?(?P<quote>['\"])(?P<value>[^\s'\"{}<>$]{12,})(?P=quote)"
)
# Bits a character: words and placeholders stay below, random letters and digits come out above.
_RANDOM_ENTROPY = 3.3


@dataclass(frozen=True)
class Find:
    """Something that looks like a secret; never carries the text itself."""

    line: int
    kind: str


def scan(text: str) -> Iterator[Find]:
    """Yield what looks like a secret in a text, line by line."""
    for number, line in enumerate(text.splitlines(), start=1):
        if any(mark in line for mark in _MARKS):
            continue
        for kind, pattern in KNOWN_KINDS.items():
            if pattern.search(line):
                yield Find(number, kind)
        if any(_is_random(match["value"]) for match in _ASSIGNED.finditer(line)):
            yield Find(number, "assigned secret")


def _is_random(value: str) -> bool:
    """Whether a literal, no address, has digits among letters and no more repetition than chance would give it."""
    if "://" in value or not (re.search(r"\d", value) and re.search(r"[A-Za-z]", value)):
        return False
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values()) >= _RANDOM_ENTROPY


def repository_files(root: Path) -> list[Path]:
    """List what git tracks and what it would add, so that a secret is found before it is committed.

    Raises subprocess.CalledProcessError outside of a git repository.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout  # noqa: S603 - fixed words
    paths = sorted({root / name.decode() for name in listed.split(b"\0") if name})
    return [path for path in paths if path.is_file()]


def scan_files(paths: Iterable[Path]) -> Iterator[tuple[Path, Find]]:
    """Yield every find with its file; bytes that are no UTF-8 are read as Latin-1, so that no file is passed over."""
    for path in paths:
        raw = path.read_bytes()
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        for find in scan(text):
            yield path, find


def main() -> int:
    """Scan the repository and print what was found; returns the exit code."""
    files = repository_files(ROOT)
    if not files:
        sys.stderr.write("no files found to scan, so nothing was shown\n")
        return 1
    finds = list(scan_files(files))
    for path, find in finds:
        sys.stderr.write(f"{path.relative_to(ROOT)}:{find.line}: {find.kind}\n")
    if finds:
        sys.stderr.write("Take it out and change the key where it is in use; made-up test data carries FAKE.\n")
        return 1
    sys.stdout.write(f"{len(files)} files, no secret\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
