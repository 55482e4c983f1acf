"""Explaining: what a plan waits for now, who ends that, and what overtook it. Pure, over what the ledger tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from contracts.outbound import WhoActs
from service.domain.binding import Binding
from service.domain.command import Attempt, Command, CommandState, HistoryRow, Lane, Plan, PlanState, WaitCause
from service.domain.ledger_state import Hold, HoldKind, StoredEvent
from service.domain.value import Value


class CommandStory(Value, frozen=True, kw_only=True):
    """Everything the ledger tells about one command."""

    command: Command
    plan: Plan
    attempts: tuple[Attempt, ...]
    history: tuple[HistoryRow, ...]


class Wait(Value, frozen=True, kw_only=True):
    """What a plan waits for now: the cause, in a sentence, who ends it, and when at the latest that is expected.

    `behind` are the plans that must end first, `hold` is what stops it.
    """

    cause: str
    sentence: str
    who_acts: WhoActs
    expected_at: float | None
    behind: tuple[str, ...] = ()
    hold: str | None = None


class PlanTrace(Value, frozen=True, kw_only=True):
    """One plan from its event to what was told of it; `told` are type, message id and when Kafka acknowledged it."""

    plan: Plan
    event: StoredEvent | None
    steps: tuple[CommandStory, ...]
    wait: Wait | None
    overtaken_by: tuple[str, ...]
    told: tuple[tuple[str, str, float | None], ...]


class Explanation(Value, frozen=True, kw_only=True):
    """What is known about a name as of `at`; the newest plans first, `more` are left out."""

    about: str
    at: float
    plans: tuple[PlanTrace, ...]
    more: int
    events: tuple[StoredEvent, ...]
    bindings: tuple[Binding, ...]


def wait_of(
    plan: Plan,
    command: Command,
    *,
    others: Sequence[Plan],
    holds: Sequence[Hold],
    now: float,
    at_most: float | None,
) -> Wait:
    """What the plan's current command waits for. `at_most` are the seconds until its lane is empty, if known."""
    hold = next((hold for hold in holds if hold.stops(command)), None)
    if hold is not None and command.state is not CommandState.IN_FLIGHT:
        return _stopped(hold, command)
    match command.state:
        case CommandState.IN_FLIGHT:
            return Wait(cause="vendor", sentence="its call is on its way", who_acts="vendor", expected_at=None)
        case CommandState.IN_DOUBT:
            return _in_doubt(command)
        case CommandState.WAITING if command.cause is WaitCause.EARLIER_WORK:
            return _behind(plan, others)
        case CommandState.WAITING if command.cause is not None:
            sentence, who = SENTENCES[command.cause]
            return Wait(cause=command.cause.value, sentence=sentence, who_acts=who, expected_at=command.due_at)
    expected = None if at_most is None else now + at_most
    return Wait(cause="quota", sentence="its turn under the vendor's quota", who_acts="cordboard", expected_at=expected)


SENTENCES: Final[dict[WaitCause, tuple[str, WhoActs]]] = {
    WaitCause.EARLIER_WORK: ("earlier work", "cordboard"),
    WaitCause.EARLIER_STEP: ("an earlier step of its plan", "cordboard"),
    WaitCause.APPROVAL: ("the vendor's review; it is looked for now and then", "vendor"),
    WaitCause.EFFECTIVE_DATE: ("its effective date", "nobody"),
    WaitCause.RETRY: ("a retry, after a failure that may pass", "cordboard"),
    WaitCause.QUARANTINE: ("its sick account", "cordboard"),
}


def _stopped(hold: Hold, command: Command) -> Wait:
    if hold.kind is HoldKind.HOLD:
        sentence = f"a hold by {hold.actor}: {hold.reason}"
        return Wait(cause="hold", sentence=sentence, who_acts="operator", expected_at=None, hold=hold.id)
    sentence = f"its account is in quarantine ({hold.reason}); one command probes whether it has recovered"
    return Wait(cause="quarantine", sentence=sentence, who_acts="cordboard", expected_at=command.due_at, hold=hold.id)


def _in_doubt(command: Command) -> Wait:
    if command.lane is Lane.SWEEP:
        sentence = "a person's word, or an approval: whether the vendor did it can't be read back for certain"
        return Wait(cause="in_doubt", sentence=sentence, who_acts="operator", expected_at=None)
    sentence = "certainty: whether the vendor did it is being read back"
    return Wait(cause="in_doubt", sentence=sentence, who_acts="cordboard", expected_at=command.due_at)


def _behind(plan: Plan, others: Sequence[Plan]) -> Wait:
    ahead = tuple(other.id for other in others if other.state is PlanState.OPEN and other.id != plan.id)
    sentence = f"earlier work of its subject or resource: {', '.join(ahead) or 'none any more'}"
    return Wait(cause="earlier_work", sentence=sentence, who_acts="cordboard", expected_at=None, behind=ahead)


def overtaken_by(plan: Plan, others: Sequence[Plan]) -> tuple[str, ...]:
    """Later plans of the subject that were completed although this one was not."""
    if plan.state is not PlanState.FAILED:
        return ()
    later = (o for o in others if o.subject == plan.subject and o.order.rank > plan.order.rank)
    return tuple(sorted(o.id for o in later if o.state is PlanState.COMPLETED))
