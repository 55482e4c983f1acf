"""Telemetry that remembers: what was counted, measured, said and reported; exact about the catalogue."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from service.application import telemetry as catalogue
from service.application.telemetry import CATALOGUE

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Line:
    """One log line."""

    level: str
    event: str
    fields: dict[str, object] = field(default_factory=dict)


class RecordingTelemetry:
    """The port `Telemetry` in memory. Raises ValueError for a figure that the catalogue does not know so."""

    def __init__(self) -> None:
        self.counts: Counter[Series] = Counter()
        self.observations: defaultdict[Series, list[float]] = defaultdict(list)
        self.levels: dict[Series, float] = {}
        self.lines: list[Line] = []
        self.parts: dict[str, tuple[bool, str]] = {}

    def count(self, metric: catalogue.Counter, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self.counts[_series("counter", metric, labels)] += amount  # type: ignore[assignment]  # a float count

    def observe(self, metric: catalogue.Histogram, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        self.observations[_series("histogram", metric, labels)].append(value)

    def level(self, metric: catalogue.Gauge, value: float, **labels: str) -> None:
        """Set a gauge."""
        self.levels[_series("gauge", metric, labels)] = value

    def show(self, metric: catalogue.Gauge, figures: Mapping[tuple[str, ...], float]) -> None:
        """Set a gauge for all its label values."""
        self.levels = {series: value for series, value in self.levels.items() if series[0] != metric}
        for values, figure in figures.items():
            self.level(metric, figure, **dict(zip(CATALOGUE[metric].labels, values, strict=True)))

    def log(self, level: str, event: str, **fields: object) -> None:
        """Remember a line."""
        if level not in {"debug", "info", "warning", "error"}:
            raise ValueError(f"no such level: {level}")
        self.lines.append(Line(level, event, fields))

    def health(self, part: str, *, ready: bool, detail: str = "") -> None:
        """Remember how a part is."""
        self.parts[part] = (ready, detail)

    def counted(self, metric: catalogue.Counter, **labels: str) -> float:
        """How much was counted over all series of a metric that have these labels."""
        return sum(
            n for (name, own), n in self.counts.items() if name == metric and labels.items() <= dict(own).items()
        )

    def events(self, level: str | None = None) -> list[str]:
        """What was said, in order."""
        return [line.event for line in self.lines if level is None or line.level == level]


def _series(kind: str, metric: str, labels: dict[str, str]) -> Series:
    return _known(kind, metric, tuple(sorted((label, str(value)) for label, value in labels.items())))


@cache
def _known(kind: str, metric: str, labels: tuple[tuple[str, str], ...]) -> Series:
    """Held to the catalogue once: simulations ask for the same series a million times."""
    entry = CATALOGUE.get(metric)  # type: ignore[call-overload]  # asked with any text on purpose
    if entry is None or entry.kind != kind:
        raise ValueError(f"the catalogue has no {kind} {metric}")
    if fault := entry.fault_of(dict(labels)):
        raise ValueError(f"the catalogue has no such {metric}: {fault}")
    return metric, labels
