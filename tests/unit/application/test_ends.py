"""Every end is counted, whichever step decided it; an account that falls sick is counted, shown and told."""

from __future__ import annotations

from typing import Any

from service.application.standing import show_standing
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


async def shown(house: House, telemetry: RecordingTelemetry | None = None) -> dict[tuple[str, ...], float]:
    """The gauge of quarantines as it is scraped, by account and operation."""
    telemetry = telemetry or house.telemetry
    await show_standing(telemetry, house.ledger, accounts={}, calls={}, clock=house.clock)
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
    assert await shown(house) == {}
    (line,) = lines(telemetry, "an account has recovered")
    assert (line.level, line.fields["account"]) == ("info", "acme_cn")


async def test_missing_right_stops_and_shows_one_operation(house: House, telemetry: RecordingTelemetry) -> None:
    house.vendors["acme_cn"].script(CREATE, *[NO_RIGHT] * 3)
    await house.take(hired(1))
    assert await shown(house) == {("acme_cn", CREATE): 1}
    assert telemetry.counted("quarantines_total", account="acme_cn", operation=CREATE) == 1


async def test_quarantine_is_shown_by_every_process_of_a_fleet(house: House) -> None:
    house.vendors["acme_cn"].script(LOOK, *[REFUSED_KEY] * 3)
    await house.take(hired(1))
    another = RecordingTelemetry()
    assert await shown(house, another) == {("acme_cn", "all"): 1}
    assert another.counts == {}


# --- hires ----------------------------------------------------------------------------------------------------------


async def test_hire_that_is_ready_is_measured_and_counted_in_time(house: House) -> None:
    await house.take(hired(1))
    assert house.telemetry.counted("hires_total", account="acme_cn", outcome="in_time") == 1
    ((_, took),) = [o for o in house.telemetry.observations.items() if o[0][0] == "hired_to_ready_seconds"]
    assert len(took) == 1


async def test_hire_that_no_speed_could_have_saved_counts_for_no_objective(house: House) -> None:
    house.source.add(hired(1, account="nobody"))
    await house.intake.run_once()
    assert house.telemetry.counted("hires_total", outcome="refused") == 1
    assert house.telemetry.counted("hires_total") == 1


async def test_stages_of_a_command_are_measured(house: House) -> None:
    await house.take(hired(1))
    stages = {dict(labels)["stage"] for name, labels in house.telemetry.observations if name == "stage_seconds"}
    assert stages == {"intake", "queue", "quota", "vendor", "settlement"}
