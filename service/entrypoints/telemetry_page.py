"""Makes `docs/telemetry.md` from the catalogue: `python -m service.entrypoints.telemetry_page`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Final

from service.adapters.metrics import BUCKETS, PREFIX
from service.application.telemetry import CATALOGUE, CLOSED, LABELS
from service.application.tracing import ATTRIBUTES, SPANS

HEAD: Final = """# Telemetry

<!-- Made by `python -m service.entrypoints.telemetry_page`; edit service/application/telemetry.py. -->

`/metrics` has every figure below and no other: the catalogue is closed, its names are checked by the type checker, and
a figure with other labels than these, or with another value where a list is closed, is told and dropped. Prometheus
text, or OpenMetrics if asked for. Labels hold closed lists or names that the settings bound: never an id, a person's
name or free text. A counter's name ends in `_total`, a time is in seconds. Counters that alerts and dashboards look for
begin at zero with the process, so that the first of anything is an increase.

Figures that the ledger knows better than any process (commands, holds, replays, ages) are read when somebody scrapes,
so every process of a fleet shows the same: take their maximum, not their sum. All others are each process's own.

## Figures
"""

LABELS_HEAD: Final = """
## Labels

| label | means | holds |
| --- | --- | --- |
"""

TRACES_HEAD: Final = """
## Traces

Off unless `traces.otlp_endpoint` names a collector (OTLP over HTTP, protobuf; needs the extra `traces`). What a
collector wants besides is read from OpenTelemetry's own variables: `OTEL_EXPORTER_OTLP_HEADERS`,
`OTEL_EXPORTER_OTLP_CERTIFICATE`.

A trace is one event's way. It continues the `traceparent` of the event (its attribute, else its record's header); an
event without one begins a trace, or not, as `traces.sample_ratio` has it. Of those who bring one, their flag decides:
what the producer does not record, Cordboard does not either. The context of `intake` is stored with the plan and its
commands, so retries, takeovers and replays are in the same trace, and every result carries the context of its
`publish`: in the headers `traceparent` and `ce_traceparent`, and in the event. A process that is killed takes with it
the spans of its last second and those that had not ended; those after it then lack their parent, not their trace. An
event that was taken in while traces were off, or was not sampled, has none later either. `tracestate` is not kept.

The catalogue is closed. Attributes are named `cordboard.…`; none is a name, an address, a record's key or a subject.
At most 4096 spans wait for the collector; what is over that, or not taken, is dropped and counted in
`cordboard_spans_dropped_total`. No work ever waits for it.

| span | kind | attributes | meaning |
| --- | --- | --- | --- |
"""

ATTRIBUTES_HEAD: Final = """
| attribute | holds |
| --- | --- |
"""


LINES: Final = """
## Log lines

One JSON object a line on standard output, or text where that is a terminal (`log.format`). One line tells of each event
that was taken in and of each new state of a command, with `event_id`, `plan_id`, `command_id` and, if the event brought
or began a trace, its `trace_id`. Of other lines that say the same over and over, ten a minute are written; the next one
has `left_out`. Registered secrets, fields that are named like one, and e-mail addresses are `***` in all of them, the
libraries' too.
"""


def render_page() -> str:
    """The page as it is committed."""
    return (
        HEAD
        + "\n"
        + "\n".join(_figures())
        + "\n"
        + LABELS_HEAD
        + "\n".join(_labels())
        + "\n"
        + LINES
        + TRACES_HEAD
        + "\n".join(_spans())
        + "\n"
        + ATTRIBUTES_HEAD
        + "\n".join(f"| `{name}` | {holds} |" for name, holds in sorted(ATTRIBUTES.items()))
        + "\n"
    )


def _figures() -> Iterator[str]:
    yield "| figure | kind | unit | labels | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for name, metric in sorted(CATALOGUE.items()):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        bounds = f" Bounds: {', '.join(f'{bound:g}' for bound in BUCKETS[name])}." if name in BUCKETS else ""
        yield f"| `{PREFIX}{name}` | {metric.kind} | {metric.unit} | {labels} | {metric.meaning}{bounds} |"


def _labels() -> Iterator[str]:
    for label, means in sorted(LABELS.items()):
        yield f"| `{label}` | {means} | {_holds(label)} |"


def _holds(label: str) -> str:
    """What a label may hold: one closed list, or one for each figure; else what the settings name."""
    if label in CLOSED:
        return _listed(CLOSED[label])
    own = [(name, metric.own[label]) for name, metric in sorted(CATALOGUE.items()) if label in metric.own]
    return "; ".join(f"in `{name}` {_listed(values)}" for name, values in own)


def _listed(values: Sequence[str]) -> str:
    return ", ".join(f"`{value}`" if value else "empty" for value in values)


def _spans() -> Iterator[str]:
    for name, span in SPANS.items():
        attributes = ", ".join(f"`{attribute}`" for attribute in span.attributes)
        yield f"| `{name}` | {span.kind} | {attributes} | {span.meaning} |"


if __name__ == "__main__":
    sys.stdout.write(render_page())
