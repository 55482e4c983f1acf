"""What every server that the tests start has: a log to report from, and an end, however its test ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self


class RunningServer(ABC):
    """Started by `with`, closed with it; one that fails to start is closed as well."""

    log_file: Path

    @abstractmethod
    def start(self) -> None:
        """Returns once it answers."""

    @abstractmethod
    def close(self) -> None:
        """End it, and remove what it left."""

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of its log, for a failure report."""
        if not self.log_file.exists():
            return "(it wrote no log)"
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
