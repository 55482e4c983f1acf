"""A tracer that remembers: spans in the order in which they ended; exact about the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Unpack

from service.application.tracing import SPANS, SpanAttributes, SpanName


@dataclass
class RecordedSpan:
    """A span; `ended` is None until it is over."""

    name: SpanName
    parent: str | None
    traceparent: str
    begun: float
    ended: float | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    kept: list[RecordedSpan] = field(default_factory=list, repr=False)

    @property
    def trace_id(self) -> str:
        """Which trace it is part of."""
        return self.traceparent.split("-")[1]

    def end(self, at: float, **attributes: Unpack[SpanAttributes]) -> None:
        """It ended. Raises ValueError for an attribute that the catalogue does not give it."""
        unknown = set(attributes) - set(SPANS[self.name].attributes)
        if unknown:
            raise ValueError(f"{self.name} has no {sorted(unknown)}")
        self.ended = at
        self.attributes = {name: value for name, value in attributes.items() if value is not None}
        self.kept.append(self)


@dataclass
class RecordingTracer:
    """The port `Tracer` in memory. A new trace is `sampled` or not; else its beginner says."""

    sampled: bool = True
    spans: list[RecordedSpan] = field(default_factory=list)
    _made: int = 0

    def begin(self, name: SpanName, *, parent: str | None, at: float) -> RecordedSpan | None:
        """Begin a span; None where nothing is recorded."""
        self._made += 1
        trace_id = f"{self._made:032x}"
        if parent is not None:
            _, trace_id, _, flags = parent.split("-")
            if not int(flags, 16) & 1:
                return None
        elif not (SPANS[name].begins and self.sampled):
            return None
        return RecordedSpan(name, parent, f"00-{trace_id}-{self._made:016x}-01", at, kept=self.spans)

    def record(
        self, name: SpanName, *, parent: str | None, begun: float, ended: float, **attributes: Unpack[SpanAttributes]
    ) -> None:
        """A span that is over already."""
        span = self.begin(name, parent=parent, at=begun)
        if span is not None:
            span.end(ended, **attributes)

    def named(self, name: SpanName) -> list[RecordedSpan]:
        """The spans of one name that ended."""
        return [span for span in self.spans if span.name == name]
