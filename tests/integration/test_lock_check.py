"""The lock check notices that `pyproject.toml` and a lock have parted."""

import shutil
from pathlib import Path

import pytest

from tests.checks.lock_check import LOCKS, ROOT, drift

RUNTIME = LOCKS[0]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that the runtime lock is made from, free to be changed."""
    for name in ("pyproject.toml", RUNTIME.path):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_lock_of_an_untouched_project_is_in_step(copy: Path) -> None:
    assert drift(RUNTIME, copy) == []


def test_dependency_dropped_from_the_project_alone_is_drift(copy: Path) -> None:
    _replace(copy / "pyproject.toml", '    "aiolimiter>=1.3.0,<2",\n', "")

    assert any(line.startswith("-aiolimiter==") for line in drift(RUNTIME, copy))


def test_version_edited_in_the_lock_against_the_project_is_drift(copy: Path) -> None:
    _replace(copy / "pyproject.toml", "aiolimiter>=1.3.0,<2", "aiolimiter>=1.2,<1.2.1")

    assert any(line.startswith("+aiolimiter==1.2.0") for line in drift(RUNTIME, copy))
