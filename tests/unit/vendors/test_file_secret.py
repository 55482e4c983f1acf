"""A secret in a file: what a reader gets while the file is rotated, broken and mended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from service.vendors.file_secret import MAX_SECRET_BYTES, READ_EVERY_SECONDS, FileSecret


class Watch:
    """A secret with a clock that is set, and what it told."""

    def __init__(self, path: Path) -> None:
        self.at = 100.0
        self.renewed: list[tuple[str, str]] = []
        self.lost: list[str] = []
        self.secret = FileSecret(path, now=lambda: self.at)
        self.secret.listen(lambda before, value: self.renewed.append((before, value)), self.lost.append)

    def later(self) -> str:
        self.at += READ_EVERY_SECONDS
        return self.secret.get_secret_value()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text("FAKE-one\n")
    return file


def test_another_value_in_the_file_is_given_out_after_a_second_and_told_before(path: Path) -> None:
    watch = Watch(path)
    path.write_text("FAKE-two\n")
    assert watch.secret.get_secret_value() == "FAKE-one"
    assert watch.later() == "FAKE-two"
    assert watch.later() == "FAKE-two"
    assert (watch.renewed, watch.lost) == ([("FAKE-one", "FAKE-two")], [])


def test_a_folder_that_is_swapped_by_a_symlink_is_followed(tmp_path: Path) -> None:
    """As Kubernetes does it: `key` → `..data/key`, `..data` → a folder of that moment."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(f"FAKE-{name}")
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "key").symlink_to("..data/key")
    watch = Watch(tmp_path / "key")
    (tmp_path / "..data_tmp").symlink_to("two")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert watch.later() == "FAKE-two"


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"FAKE-one\nFAKE-two", b"\xff\xfe", b"x" * (MAX_SECRET_BYTES + 1), None]
)
def test_a_file_that_holds_no_secret_leaves_the_last_one_and_is_told_once(path: Path, content: bytes | None) -> None:
    watch = Watch(path)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert [watch.later() for _ in range(3)] == ["FAKE-one"] * 3
    (told,) = watch.lost
    assert "FAKE" not in told
    assert str(path) not in told
    path.write_text("FAKE-two")
    assert watch.later() == "FAKE-two"
    path.write_bytes(b"")
    watch.later()
    assert len(watch.lost) == 2


def test_a_file_is_read_at_most_once_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, opened = Watch(path), list[Path]()
    real = Path.open

    def noting(self: Path, mode: str) -> Any:
        opened.append(self)
        return real(self, mode)

    monkeypatch.setattr(Path, "open", noting)
    for _ in range(128):
        watch.at += READ_EVERY_SECONDS / 64
        watch.secret.get_secret_value()
    assert len(opened) == 2


def test_it_is_masked_like_every_secret(path: Path) -> None:
    secret = FileSecret(path)
    assert "FAKE" not in f"{secret!r} {secret}"


@pytest.mark.parametrize("name", ["none", "\0", "."])
def test_a_file_that_cannot_be_read_to_begin_with_is_an_error_without_its_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="can't be read as text") as raised:
        FileSecret(Path(os.fspath(tmp_path)) / name)
    assert str(tmp_path) not in str(raised.value)
