"""`cordboard demo` as somebody tries it first: one command, no Java, tables within a minute."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TABLES = (
    "What came in",
    "How the commands ended",
    "What did not go by itself, and why",
    "What the vendors saw",
    "Next",
)


@contextmanager
def _demo(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The demo, its output in files as in a pipe; without Java or anything else on the path."""
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "service", "demo", *arguments],
            stdout=out,
            stderr=err,
            env={"PATH": str(folder), "HOME": str(folder), "LANG": "C.UTF-8", "TMPDIR": str(folder)} | _PYTHON,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


_PYTHON = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}


def test_the_demo_ends_well_within_a_minute_and_prints_its_tables(tmp_path: Path) -> None:
    begun = time.monotonic()
    with _demo(tmp_path) as demo:
        code = demo.wait(90)
    took = time.monotonic() - begun
    out, err = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()
    assert code == 0, err[-2000:]
    assert took < 60
    assert [title for title in TABLES if title not in out] == []
    assert "Not everything had ended" not in out
    assert "Traceback" not in out + err
    assert "\x1b" not in out, "no colours in a pipe"
    assert list(tmp_path.glob("cordboard-demo-*")) == [], "it takes its folder away"
