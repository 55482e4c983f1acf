"""`cordboard plan`: what events would do, told from the settings alone; nothing is sent, stored or looked up."""

from __future__ import annotations

from typing import Any, Final

import orjson

from contracts.inbound import INBOUND_TOPIC
from service.domain.binding import Binding, BindingState
from service.domain.blueprint import Blueprint, FactBlueprint, Planned, Refusal, StepBlueprint
from service.domain.idempotency_key import plan_id
from service.domain.planning import PlanningPolicy, plan_event, subject_of
from service.domain.record_reading import Defect, Ignored, InboundEvent, Record, Understood, read_record
from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, show_json, show_rows
from service.settings import Settings

COLUMNS: Final = {
    "event": "event",
    "id": "id",
    "outcome": "outcome",
    "subject": "subject",
    "resource": "resource",
    "shown": "steps, or why not",
}
JSON_CONTENT: Final = (("content-type", b"application/cloudevents+json"),)
PLAN, FAILED_PLAN, DEAD_LETTER = "plan", "failed plan", "dead letter"
Preview = dict[str, Any]


class NotEventsError(Exception):
    """The input holds no events; the message says what was expected."""


def events_in(content: bytes) -> list[bytes]:
    """A JSON array of events, one event, or one on each line, each as its own bytes. Raises NotEventsError."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        lines = [line for line in content.splitlines() if line.strip()]
        if not lines or not lines[0].lstrip().startswith(b"{"):
            raise NotEventsError("expected CloudEvents as a JSON array, as JSON lines, or a single one") from None
        return lines
    if isinstance(document, list):
        return [_written(item) for item in document]
    return [content]


def _written(item: object) -> bytes:
    try:
        return orjson.dumps(item)
    except orjson.JSONEncodeError:  # it is read deeper than it is written
        raise NotEventsError("an event in the array is nested too deep") from None


class Previewer:
    """Tells what events would do, one after another; the bindings of the ledger are unknown to it."""

    def __init__(self, policy: PlanningPolicy, *, max_event_bytes: int) -> None:
        """Nothing was seen yet."""
        self._policy = policy
        self._max_event_bytes = max_event_bytes
        self._digests: dict[tuple[str, str], str] = {}
        self._told: set[tuple[str, str]] = set()
        self._bindings: dict[str, Binding] = {}

    def preview(self, number: int, value: bytes) -> Preview:
        """What the event with this number in the input would do."""
        record = Record(
            topic=_topic(value), partition=0, offset=number, key=None, value=value, headers=JSON_CONTENT, timestamp_ms=0
        )
        match read_record(record, max_event_bytes=self._max_event_bytes):
            case Defect() as defect:
                why = f"{defect.field}: {defect.message}" if defect.field else defect.message
                return {"event": number, "outcome": DEAD_LETTER, "reason": defect.reason.value, "why": why}
            case Ignored() as ignored:
                why = f"{ignored.type_label} is not a type of Cordboard's"
                return {"event": number, "outcome": "ignored", "reason": ignored.reason, "why": why}
            case Understood(event):
                return {"event": number, "type": event.type, "id": event.id, **self._event(event)}

    def _event(self, event: InboundEvent) -> Preview:
        known = self._digests.setdefault((event.source, event.id), event.digest)
        if known != event.digest:
            why = "source and id were seen before with other content; the first one counts"
            return {"outcome": DEAD_LETTER, "reason": "id_reused", "why": why}
        if (event.source, event.id) in self._told:
            return {"outcome": "delivered before", "why": "the same event stands above"}
        self._told.add((event.source, event.id))
        planned = plan_event(event, self._policy, self._bindings.get(subject_of(event, self._policy)))
        identity = plan_id(event.source, event.id)
        if isinstance(planned, Blueprint):
            self._bindings.setdefault(planned.subject, _reservation(planned, identity))
        return _told(planned, identity)


def _reservation(planned: Blueprint, identity: str) -> Binding:
    """What intake would reserve, so that the subject's next event in the input sees it."""
    return Binding(
        subject=planned.subject,
        resource=planned.resource,
        account=planned.account.name,
        generation=1,
        state=BindingState.RESERVED,
        plan_id=identity,
    )


def _topic(value: bytes) -> str:
    """The topic that events of its type come from, for its defaults."""
    try:
        event_type = orjson.loads(value).get("type")
    except (orjson.JSONDecodeError, AttributeError):
        event_type = None
    about = event_type.partition(".")[0] if isinstance(event_type, str) else ""
    return INBOUND_TOPIC.get(about, INBOUND_TOPIC["hr"])


def _told(planned: Planned, identity: str) -> Preview:
    match planned:
        case Blueprint():
            return {
                "outcome": PLAN,
                "plan_id": identity,
                "subject": planned.subject,
                "resource": planned.resource,
                "steps": [_step(step) for step in planned.steps],
            }
        case FactBlueprint():
            return {"outcome": "fact", "subject": planned.subject, "why": f"{planned.kind}: ends a wait for approval"}
        case Refusal():
            return {
                "outcome": FAILED_PLAN,
                "plan_id": identity,
                "subject": planned.subject,
                "reason": planned.failure.error_class.value,
                "why": planned.failure.message,
            }


def _step(step: StepBlueprint) -> Preview:
    wanted = step.wanted.model_dump(mode="json", exclude_none=True)
    return {"step": step.step.value, "operation": step.operation, "wanted": wanted}


def show_preview(content: bytes, settings: Settings, output: Output) -> ExitCode:
    """Print what the events of an input would do. Raises NotEventsError."""
    previewer = Previewer(settings.planning_policy(), max_event_bytes=settings.limits.max_event_bytes)
    previews = [previewer.preview(number, value) for number, value in enumerate(events_in(content), start=1)]
    if output is Output.JSON:
        show_json(previews)
    else:
        show_rows([row for preview in previews for row in _lines(preview)], COLUMNS, output, empty="no events")
    bad = sum(preview["outcome"] in {DEAD_LETTER, FAILED_PLAN} for preview in previews)
    if bad == 0:
        return ExitCode.DONE
    return ExitCode.FAILED if bad == len(previews) else ExitCode.PARTLY_FAILED


def _lines(preview: Preview) -> list[Preview]:
    """A table's rows: one for the event, and one for each further step."""
    shown = [f"{step['operation']} {orjson.dumps(step['wanted']).decode()}" for step in preview.get("steps", ())]
    first, *more = shown or [preview.get("why", "")]
    return [{**preview, "shown": first}, *({"shown": line} for line in more)]
