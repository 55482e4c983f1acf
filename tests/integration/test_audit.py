"""`make audit` never passes for want of an answer."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own words
        ["make", *arguments],  # noqa: S607 - whichever make is there
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.long  # it installs the auditor
def test_an_advisory_service_that_does_not_answer_fails_the_audit() -> None:
    installed = make(".cache/audit/.complete")
    assert installed.returncode == 0, installed.stderr
    with socket.socket() as nobody:  # bound, but it does not listen: who connects is refused
        nobody.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        audited = make("audit", HTTPS_PROXY=proxy, https_proxy=proxy, NO_PROXY="", no_proxy="")

    assert audited.returncode == 2
    assert "== advisories for requirements.lock" in audited.stdout
    assert "nothing was shown to be safe" in audited.stderr
