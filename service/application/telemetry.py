"""What Cordboard counts and measures: a closed catalogue, each figure with its meaning, and the port that takes them.

Labels are closed or bounded sets (operations, lanes, classes, states, topics, configured accounts, types of ours, the
first hundred of others'); never ids, names of persons or free text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

from contracts.dead_letter import DeadLetterReason
from service.domain.command import UNFINISHED, CommandState, Lane, PlanState, WaitCause
from service.domain.ledger_state import HoldKind
from service.domain.outcome import ErrorClass, Result
from service.domain.replaying import Why
from service.domain.retention import Erasable
from service.domain.value import Value

Counter = Literal[
    "records_total",
    "records_ignored_total",
    "dead_letters_total",
    "events_total",
    "commands_ended_total",
    "plans_ended_total",
    "vendor_requests_total",
    "slots_granted_total",
    "slots_given_up_total",
    "throttled_total",
    "foreign_spending_total",
    "topic_pauses_total",
    "outcomes_dropped_total",
    "messages_published_total",
    "publish_failures_total",
    "offset_commit_failures_total",
    "rebalances_total",
    "producer_rebuilds_total",
    "loop_failures_total",
    "quarantines_total",
    "sessions_lost_total",
    "erased_rows_total",
    "operator_acts_total",
    "replayed_plans_total",
    "hires_total",
    "spans_dropped_total",
]
Histogram = Literal[
    "vendor_request_seconds",
    "quota_wait_seconds",
    "intake_batch_seconds",
    "command_age_seconds",
    "stage_seconds",
    "hired_to_ready_seconds",
    "ledger_seconds",
    "loop_lag_seconds",
]
Gauge = Literal[
    "commands",
    "oldest_command_seconds",
    "holds",
    "held_commands",
    "outbox_pending",
    "outbox_oldest_seconds",
    "consumer_lag_records",
    "ready",
    "quota_rate",
    "quota_configured",
    "topic_paused",
    "intake_held_back",
    "quarantined",
    "watchdog_alive",
    "fleet",
    "identities_kept",
    "replays",
    "ready_objective_seconds",
]


Unit = Literal["", "seconds", "requests/s", "0 or 1"]
"""What a figure counts in; empty: things, which its meaning names."""


class Metric(Value, frozen=True):
    """One entry of the catalogue; exposed as `cordboard_<name>`. `own`: what labels hold that differ by figure."""

    kind: Literal["counter", "histogram", "gauge"]
    meaning: str
    labels: tuple[str, ...] = ()
    unit: Unit = ""
    own: Mapping[str, tuple[str, ...]] = {}

    def allowed(self, label: str) -> tuple[str, ...] | None:
        """The closed list of what a label may hold here; None where the settings bound it."""
        return self.own.get(label, CLOSED.get(label))

    def fault_of(self, labels: Mapping[str, str]) -> str | None:
        """What is wrong with the labels of a series: one that is missing, unknown, or holds what it may not."""
        if labels.keys() != set(self.labels):
            return f"its labels are {', '.join(self.labels) or 'none'}"
        for label, value in labels.items():
            allowed = self.allowed(label)
            if allowed is not None and str(value) not in allowed:
                return f"{label} can't be {str(value)!r}"
        return None


def _values(*known: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(value) for values in known for value in values)


CLOSED: Final[Mapping[str, tuple[str, ...]]] = {
    "error_class": _values([""], list(ErrorClass)),
    "lane": _values(list(Lane)),
    "part": ("kafka", "ledger", "publisher", "bug"),
    "result": _values([""], list(Result)),
    "stage": ("intake", "queue", "quota", "vendor", "settlement"),
    "what": _values(list(Erasable)),
}
"""Labels that hold the same closed list in every figure."""

LABELS: Final[Mapping[str, str]] = {
    "account": "a configured account, or empty where none is known",
    "cause": "what is waited for, or empty",
    "error_class": "of a failure, or empty",
    "kind": "what stands, or what was done",
    "lane": "how urgent it is",
    "loop": "a loop of the process",
    "operation": "an operation of a vendor, as `vendor.Operation`; `all`; `planning`",
    "outcome": "how it came out",
    "part": "what was away; `bug`: a fault of ours",
    "partition": "a partition of an in-topic",
    "reason": "why",
    "result": "how a command succeeded, or empty",
    "stage": "a part of a command's time",
    "state": "a state of a command, plan or replay",
    "statement": "a method of the ledger's port",
    "topic": "a configured topic",
    "type": "a type of events: ours, and the first hundred of others'",
    "what": "what retention erases",
}
"""What each label means. It holds a closed list (`Metric.allowed`), or names that the settings bound."""

ENDED: Final = _values([state for state in CommandState if state.ended])
ACTS: Final = (
    *("hold", "release", "settle", "quota", "resubmitted", "discarded", "reveal", "forget"),
    *("replay", "replay_pause", "replay_resume", "replay_cancel"),
)
OUTCOMES: Final = _values(["succeeded"], list(ErrorClass))

CATALOGUE: Final[Mapping[Counter | Histogram | Gauge, Metric]] = {
    "records_total": Metric("counter", "Kafka records taken from a topic.", ("topic",)),
    "records_ignored_total": Metric(
        "counter",
        "Records that are none of our business.",
        ("topic", "reason", "type"),
        own={"reason": ("foreign_type", "empty")},
    ),
    "dead_letters_total": Metric(
        "counter",
        "Records that could not become an event.",
        ("topic", "reason"),
        own={"reason": _values(list(DeadLetterReason))},
    ),
    "events_total": Metric(
        "counter",
        "Events by what became of them.",
        ("type", "outcome"),
        own={"outcome": _values(["planned", "fact", "delivered_before"], list(ErrorClass))},
    ),
    "commands_ended_total": Metric(
        "counter",
        "Commands that ended.",
        ("operation", "account", "state", "result", "error_class"),
        own={"state": ENDED},
    ),
    "plans_ended_total": Metric(
        "counter",
        "Plans that ended.",
        ("account", "state", "error_class"),
        own={"state": _values([state for state in PlanState if state is not PlanState.OPEN])},
    ),
    "vendor_requests_total": Metric(
        "counter",
        "Requests sent to a vendor.",
        ("operation", "account", "lane", "outcome"),
        own={"outcome": OUTCOMES},
    ),
    "slots_granted_total": Metric(
        "counter", "Slots of a quota that were given to a call.", ("operation", "account", "lane")
    ),
    "slots_given_up_total": Metric(
        "counter", "Slots that passed before their request could be sent.", ("operation", "account")
    ),
    "throttled_total": Metric("counter", "Replies that said the quota is overspent.", ("operation", "account")),
    "foreign_spending_total": Metric(
        "counter", "Such replies while we kept below the quota: somebody else spends it.", ("operation", "account")
    ),
    "topic_pauses_total": Metric("counter", "Times a topic was paused for its bad records.", ("topic",)),
    "outcomes_dropped_total": Metric("counter", "Outcomes that came for a command no longer ours.", ("operation",)),
    "messages_published_total": Metric("counter", "Messages that Kafka acknowledged.", ("topic",)),
    "publish_failures_total": Metric(
        "counter",
        "Tries to publish that failed.",
        ("reason",),
        own={"reason": ("refused", "given_up", "indefinite")},
    ),
    "offset_commit_failures_total": Metric("counter", "Offset commits that failed; they are tried again."),
    "rebalances_total": Metric("counter", "Assignments that the consumer group gave us."),
    "producer_rebuilds_total": Metric("counter", "Times the producer was thrown away after an indefinite error."),
    "loop_failures_total": Metric("counter", "Rounds of a loop that failed and were tried again.", ("loop", "part")),
    "quarantines_total": Metric(
        "counter", "Times an account, or one operation of it, was stopped as sick.", ("account", "operation")
    ),
    "sessions_lost_total": Metric("counter", "Times another process ended our session: we were away for too long."),
    "erased_rows_total": Metric(
        "counter", "Rows erased because their time was over; a plan's with all that belongs to it.", ("what",)
    ),
    "operator_acts_total": Metric("counter", "What operators did.", ("kind",), own={"kind": ACTS}),
    "replayed_plans_total": Metric(
        "counter",
        "Plans of replays, begun or refused, and why.",
        ("outcome",),
        own={"outcome": _values(["begun"], list(Why))},
    ),
    "hires_total": Metric(
        "counter",
        "Hires that are over: ready in time or late, failed, or refused for good.",
        ("account", "outcome"),
        own={"outcome": ("in_time", "late", "failed", "refused")},
    ),
    "spans_dropped_total": Metric(
        "counter",
        "Spans of traces that were lost.",
        ("reason",),
        own={"reason": ("queue_full", "not_delivered")},
    ),
    "vendor_request_seconds": Metric(
        "histogram", "Time from sending a request to its verdict.", ("operation", "account"), unit="seconds"
    ),
    "quota_wait_seconds": Metric(
        "histogram", "Time a call waited for its slot.", ("operation", "account", "lane"), unit="seconds"
    ),
    "intake_batch_seconds": Metric("histogram", "Time to decide and store a batch of records.", unit="seconds"),
    "command_age_seconds": Metric(
        "histogram", "Time from a command's birth to its end.", ("operation",), unit="seconds"
    ),
    "stage_seconds": Metric(
        "histogram",
        "Time of a command from its event to its end, by stage: until its event was stored, waiting for its turn, for "
        "its slot, for the vendor, and for its outcome to be stored.",
        ("operation", "stage"),
        unit="seconds",
    ),
    "hired_to_ready_seconds": Metric(
        "histogram",
        "Time from a hire (or its effective date) until the agent's extension is ready.",
        ("account",),
        unit="seconds",
    ),
    "ledger_seconds": Metric("histogram", "Time that a call of the ledger took.", ("statement",), unit="seconds"),
    "loop_lag_seconds": Metric("histogram", "How much later than asked for the process woke up.", unit="seconds"),
    "commands": Metric(
        "gauge",
        "Unfinished commands.",
        ("operation", "account", "lane", "state", "cause"),
        own={"state": UNFINISHED, "cause": _values([""], list(WaitCause))},
    ),
    "oldest_command_seconds": Metric(
        "gauge",
        "Age of the oldest unfinished command.",
        ("account", "lane", "state"),
        own={"state": UNFINISHED},
        unit="seconds",
    ),
    "holds": Metric("gauge", "Holds and quarantines that stand.", ("kind",), own={"kind": _values(list(HoldKind))}),
    "held_commands": Metric(
        "gauge", "Commands that could go on but for a hold or quarantine of their account or operation.", ("account",)
    ),
    "replays": Metric("gauge", "Replays that are not over.", ("state",), own={"state": ("running", "paused")}),
    "outbox_oldest_seconds": Metric(
        "gauge", "Age of the oldest message that waits for Kafka, by the relay's last look.", unit="seconds"
    ),
    "consumer_lag_records": Metric(
        "gauge", "Records of a partition that this process has still to fetch.", ("topic", "partition")
    ),
    "quota_configured": Metric(
        "gauge",
        "Requests per second that the settings allow an operation of an account.",
        ("account", "operation"),
        unit="requests/s",
    ),
    "ready_objective_seconds": Metric(
        "gauge", "Within so many seconds an agent who is hired shall be ready.", unit="seconds"
    ),
    "outbox_pending": Metric("gauge", "Messages seen waiting for Kafka by the last round of the relay."),
    "quota_rate": Metric(
        "gauge",
        "Requests per second an operation of an account went at when last used.",
        ("account", "operation"),
        unit="requests/s",
    ),
    "topic_paused": Metric(
        "gauge",
        "1 from the moment a topic is paused for its bad records until a probe reads well.",
        ("topic",),
        unit="0 or 1",
    ),
    "intake_held_back": Metric(
        "gauge", "1 while a batch waits for the ledger for seconds, and nothing is fetched.", unit="0 or 1"
    ),
    "quarantined": Metric(
        "gauge",
        "1 while an account is stopped as sick; `all` or the one operation.",
        ("account", "operation"),
        unit="0 or 1",
    ),
    "watchdog_alive": Metric(
        "gauge", "1 while every loop turns and what Kafka holds for us is fetched.", unit="0 or 1"
    ),
    "fleet": Metric("gauge", "Processes that share the ledger."),
    "identities_kept": Metric(
        "gauge", "1 while no identity of an event is erased, as a topic may keep its records for longer.", unit="0 or 1"
    ),
    "ready": Metric("gauge", "1 while a part works: kafka, ledger, publisher.", ("part",), unit="0 or 1"),
}


class Telemetry(Protocol):
    """Figures and log lines. Names come from the closed catalogue."""

    def count(self, metric: Counter, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, metric: Histogram, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        ...

    def level(self, metric: Gauge, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...

    def show(self, metric: Gauge, figures: Mapping[tuple[str, ...], float]) -> None:
        """Set a gauge for all its label values, in the catalogue's order of labels; what is not named goes."""
        ...

    def log(self, level: str, event: str, **fields: object) -> None:
        """One structured line; `level` is debug, info, warning or error."""
        ...

    def health(self, part: str, *, ready: bool, detail: str = "") -> None:
        """What `/readyz` says about one part: kafka, ledger, publisher."""
        ...
