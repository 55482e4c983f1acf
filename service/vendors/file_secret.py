"""A secret in a file of its own, read anew while the process runs: one that is rotated needs no restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import SecretStr

MAX_SECRET_BYTES: Final = 64 * 1024
READ_EVERY_SECONDS: Final = 1.0


class FileSecret(SecretStr):
    """Masked like every secret; whoever takes its value gets what the file holds now, at most a second old.

    The path is opened anew each time, so it does not matter how the file is replaced: Kubernetes points a symlink
    elsewhere. A file that is gone, unreadable or empty leaves the last value as it was; it is tried again with the
    next use.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.monotonic) -> None:
        """Read it for the first time. Raises ValueError, which repeats neither path nor content."""
        super().__init__(_read(path))
        self.path = path
        self._now = now
        self._read_at = now()
        self._trouble = ""
        self._on_new: Callable[[str, str], None] = _ignore
        self._on_trouble: Callable[[str], None] = _ignore

    def listen(self, on_new: Callable[[str, str], None], on_trouble: Callable[[str], None]) -> None:
        """`on_new` is told the value before and the next one, before anybody gets that; `on_trouble`, once, why the
        last one has to do.
        """
        self._on_new, self._on_trouble = on_new, on_trouble

    def get_secret_value(self) -> str:
        """What the file holds, or what it held when it could last be read."""
        now = self._now()
        if now - self._read_at >= READ_EVERY_SECONDS:
            self._read_at = now
            self._read_again()
        return self._secret_value

    def _read_again(self) -> None:
        try:
            found = _read(self.path)
        except ValueError as trouble:
            told, self._trouble = self._trouble, str(trouble)
            if not told:
                self._on_trouble(self._trouble)
            return
        self._trouble = ""
        if found != self._secret_value:
            self._on_new(self._secret_value, found)
            self._secret_value = found


def _ignore(*_: str) -> None:
    """Nobody listens."""


def _read(path: Path) -> str:
    """The file's text without white space around it."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
        secret = content.decode().strip()
    except (OSError, ValueError):
        raise ValueError("the file can't be read as text") from None
    if not secret or len(content) > MAX_SECRET_BYTES:
        raise ValueError(f"the file must hold 1 to {MAX_SECRET_BYTES} bytes")
    if any(sign < " " for sign in secret):  # a second line would break the header that it goes into
        raise ValueError("the file must hold one line of text")
    return secret
