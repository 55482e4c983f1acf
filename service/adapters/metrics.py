"""The telemetry port over prometheus_client and structlog, with the board that `/readyz` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase, disable_created_metrics

from service.application import telemetry as catalogue
from service.application.telemetry import CATALOGUE, Metric

PREFIX: Final = "cordboard_"
EXPECTED: Final = ("kafka", "ledger")
"""Parts that are not ready until they have said so. The publisher says nothing before there is something to publish."""

BUCKETS: Final[Mapping[str, Sequence[float]]] = {
    "vendor_request_seconds": (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 35),
    "quota_wait_seconds": (0.01, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300, 1800, 7200),
    "intake_batch_seconds": (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    "stage_seconds": (0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600),
    "hired_to_ready_seconds": (1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 4 * 3600, 24 * 3600),
    "ledger_seconds": (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    "loop_lag_seconds": (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    "command_age_seconds": (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600),
}
"""Upper bounds in seconds: a vendor's answer, a queue at 20 requests/s, a transaction, a number's review of days."""

ENTRIES: Final[Mapping[str, Metric]] = {str(name): entry for name, entry in CATALOGUE.items()}


class Readiness(NamedTuple):
    """Whether a part works, and what it said."""

    ready: bool
    detail: str


class MeteredTelemetry:
    """Fulfils the Telemetry port. A figure with other labels than its catalogue entry's is told and dropped."""

    def __init__(self, registry: CollectorRegistry | None = None, *, expected: Sequence[str] = EXPECTED) -> None:
        """Make every metric of the catalogue; `expected` are the parts that must report before `/readyz` is green."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry() if registry is None else registry
        ProcessCollector(namespace=PREFIX.rstrip("_"), registry=self.registry)
        self._metrics = {name: _make(name, entry, self.registry) for name, entry in ENTRIES.items()}
        self._children: dict[tuple[object, ...], MetricWrapperBase] = {}
        self._board = {part: Readiness(ready=False, detail="has not reported yet") for part in expected}
        self._log = structlog.stdlib.get_logger("cordboard").bind()  # once: each line would do it anew
        for part in expected:
            self.level("ready", 0, part=part)

    def count(self, metric: catalogue.Counter, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        found = self._labelled(metric, labels)
        if isinstance(found, Counter):
            found.inc(amount)

    def observe(self, metric: catalogue.Histogram, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        found = self._labelled(metric, labels)
        if isinstance(found, Histogram):
            found.observe(value)

    def level(self, metric: catalogue.Gauge, value: float, **labels: str) -> None:
        """Set a gauge."""
        found = self._labelled(metric, labels)
        if isinstance(found, Gauge):
            found.set(value)

    def log(self, level: str, event: str, **fields: object) -> None:
        """One structured line."""
        getattr(self._log, level)(event, **fields)

    def health(self, part: str, *, ready: bool, detail: str = "") -> None:
        """Note how a part is; a change is also a log line."""
        before = self._board.get(part)
        self._board[part] = Readiness(ready=ready, detail=detail)
        if before is None or before.ready != ready:
            self.level("ready", 1 if ready else 0, part=part)
            self._log.info("part is ready" if ready else "part is away", part=part, detail=detail)

    def readiness(self) -> Mapping[str, Readiness]:
        """How every part is, by name."""
        return dict(self._board)

    def show(self, metric: catalogue.Gauge, figures: Mapping[tuple[str, ...], float]) -> None:
        """Set a gauge for all its label values; what is not named goes."""
        self._metrics[metric].clear()
        self._children = {key: child for key, child in self._children.items() if key[0] != metric}
        for values, figure in figures.items():
            self.level(metric, figure, **dict(zip(ENTRIES[metric].labels, values, strict=True)))

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All figures as text, and their content type, in the form that an `Accept` header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _labelled(self, name: str, labels: Mapping[str, str]) -> MetricWrapperBase | None:
        """The metric's child; None, and an error line, if the catalogue has no such metric or no such series of it."""
        key = (name, *labels.items())
        known = self._children.get(key)
        if known is not None:
            return known
        metric = self._metrics.get(name)
        fault = "there is no such figure" if metric is None else ENTRIES[name].fault_of(labels)
        if metric is None or fault is not None:
            self._log.error("a figure is not in the catalogue", metric=name, fault=fault)
            return None
        if not labels:
            return metric
        child: MetricWrapperBase = metric.labels(**{label: str(value) for label, value in labels.items()})
        self._children[key] = child
        return child


def _make(name: str, entry: Metric, registry: CollectorRegistry) -> MetricWrapperBase:
    common: dict[str, Any] = {"labelnames": entry.labels, "registry": registry}
    match entry.kind:
        case "counter":
            return Counter(PREFIX + name, entry.meaning, **common)
        case "histogram":
            return Histogram(PREFIX + name, entry.meaning, buckets=BUCKETS[name], **common)
        case "gauge":
            return Gauge(PREFIX + name, entry.meaning, **common)
