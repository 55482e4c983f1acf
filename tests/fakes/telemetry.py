"""Telemetry that remembers."""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass, field
from typing import Any

from service.application.telemetry import CATALOGUE, Counter, Gauge, Histogram


@dataclass(frozen=True, slots=True)
class Line:
    """One log line."""

    level: str
    event: str
    fields: dict[str, Any]


@dataclass(slots=True)
class RecordingTelemetry:
    """The port `Telemetry`; refuses a figure whose labels the catalogue does not name."""

    counts: Tally[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=Tally)
    observed: list[tuple[str, float, dict[str, str]]] = field(default_factory=list)
    levels: dict[str, float] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    parts: dict[str, bool] = field(default_factory=dict)

    def count(self, metric: Counter, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        _check(metric, labels)
        self.counts[metric, tuple(sorted((k, str(v)) for k, v in labels.items()))] += int(amount)

    def observe(self, metric: Histogram, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        _check(metric, labels)
        self.observed.append((metric, value, labels))

    def level(self, metric: Gauge, value: float, **labels: str) -> None:
        """Set a gauge."""
        _check(metric, labels)
        self.levels[metric] = value

    def log(self, level: str, event: str, **fields: object) -> None:
        """Keep the line."""
        assert level in {"debug", "info", "warning", "error"}
        self.lines.append(Line(level, event, dict(fields)))

    def health(self, part: str, *, ready: bool, detail: str = "") -> None:
        """Keep the last word about each part."""
        self.parts[part] = ready

    def counted(self, metric: Counter, **labels: str) -> int:
        """How much a counter stands at, over all series with these labels."""
        wanted = {(k, str(v)) for k, v in labels.items()}
        return sum(n for (name, given), n in self.counts.items() if name == metric and wanted <= set(given))

    def logged(self, event: str) -> list[Line]:
        """The lines that say this."""
        return [line for line in self.lines if line.event == event]


def _check(metric: Counter | Histogram | Gauge, labels: dict[str, str]) -> None:
    assert set(labels) == set(CATALOGUE[metric].labels), f"{metric} is not counted by {sorted(labels)}"
