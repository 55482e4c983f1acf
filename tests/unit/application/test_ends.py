"""Every end is counted, whichever step decided it; an account that falls sick is counted, shown and told."""

from __future__ import annotations

from typing import Any

from service.application.ends import show_quarantines
from service.domain.outcome import ErrorClass, Failure
from service.domain.quarantine import QuarantinePolicy
from tests.fakes.telemetry import Line, RecordingTelemetry
from tests.unit.application.events import approved, event, hired, purchased
from tests.unit.application.house import CREATE, House

POLICY = QuarantinePolicy()
LOOK = "tencent_ccc.DescribeExtensions"
REFUSED_KEY = Failure(error_class=ErrorClass.CREDENTIALS, code="AuthFailure.SecretIdNotFound", message="m")
NO_RIGHT = Failure(error_class=ErrorClass.CREDENTIALS, code="UnauthorizedOperation", message="m", operation_only=True)
SICK = "an account is quarantined: its work waits, one command probes now and then"


def ended(house: House, **labels: str) -> float:
    return house.telemetry.counted("commands_ended_total", **labels)


def shown(telemetry: RecordingTelemetry) -> dict[tuple[str, ...], float]:
    """The gauge, by account and operation."""
    return {
        tuple(value for _, value in labels): level
        for (name, labels), level in telemetry.levels.items()
        if name == "quarantined"
    }


def lines(telemetry: RecordingTelemetry, event: str) -> list[Line]:
    return [line for line in telemetry.lines if line.event == event]


# --- ends that intake decides ---------------------------------------------------------------------------------------


async def test_plan_that_fails_as_it_arrives_is_counted_once(house: House) -> None:
    house.source.add(hired(1, account="nobody"))
    await house.intake.run_once()
    assert house.telemetry.counted("plans_ended_total", state="failed") == 1
    house.source.add(hired(1, account="nobody"))
    await house.intake.run_once()
    assert house.telemetry.counted("plans_ended_total") == 1, "delivered before"


async def test_wait_that_a_fact_ends_is_counted(house: House) -> None:
    await house.take(purchased(), topic="crm.events")
    before = ended(house)
    house.source.add(approved(), topic="crm.events")
    await house.intake.run_once()
    assert ended(house) == before + 1


async def test_work_that_a_later_event_supersedes_is_counted(house: House) -> None:
    house.source.add(changed("first"))
    house.source.add(changed("second"))
    await house.intake.run_once()
    assert ended(house, state="superseded") == 1


def changed(event_id: str) -> dict[str, Any]:
    data = {"agent_id": "E1", "name": f"Ada {event_id}", "email": "e1@example.com", "extension": "1001"}
    return event("hr.agent.changed.v1", event_id, **data)


async def test_work_that_arrives_overtaken_is_counted_as_stale(house: House) -> None:
    await house.take(hired(1, revision=5))
    before = ended(house, state="stale")
    house.source.add(hired(1, event_id="older", revision=4))
    await house.intake.run_once()
    assert ended(house, state="stale") > before


# --- quarantine -----------------------------------------------------------------------------------------------------


async def test_sick_account_is_counted_shown_and_told_with_what_to_do(
    house: House, telemetry: RecordingTelemetry
) -> None:
    house.vendors["acme_cn"].script(LOOK, *[REFUSED_KEY] * 3)
    await house.take(*[hired(n) for n in range(5)])
    for _ in range(2):
        await house.clock.advance(POLICY.longest_probe_seconds)
        await house.work()
    assert telemetry.counted("quarantines_total", account="acme_cn", operation="all") == 1, "failed probes are none"
    (line,) = lines(telemetry, SICK)
    assert line.level == "error"
    assert (line.fields["account"], line.fields["operation"]) == ("acme_cn", "all")
    assert line.fields["reason"] == "credentials:AuthFailure.SecretIdNotFound"
    assert str(line.fields["what_to_do"]).startswith("the secret id does not exist at this site; fix it; ")

    await house.clock.advance(POLICY.longest_probe_seconds)
    await house.work()
    assert shown(telemetry) == {("acme_cn", "all"): 0}
    (line,) = lines(telemetry, "an account has recovered")
    assert (line.level, line.fields["account"]) == ("info", "acme_cn")


async def test_missing_right_stops_and_shows_one_operation(house: House, telemetry: RecordingTelemetry) -> None:
    house.vendors["acme_cn"].script(CREATE, *[NO_RIGHT] * 3)
    await house.take(hired(1))
    assert shown(telemetry) == {("acme_cn", CREATE): 1}
    assert telemetry.counted("quarantines_total", account="acme_cn", operation=CREATE) == 1


async def test_quarantine_of_an_earlier_process_is_shown_again(house: House) -> None:
    house.vendors["acme_cn"].script(LOOK, *[REFUSED_KEY] * 3)
    await house.take(hired(1))
    later = RecordingTelemetry()
    await show_quarantines(later, house.ledger.reopen(), ["acme_cn", "acme_hw"])
    assert shown(later) == {("acme_cn", "all"): 1}
    assert later.counts == {}
