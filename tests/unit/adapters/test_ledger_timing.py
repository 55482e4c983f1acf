"""Calls of a ledger are measured from the caller's side, whatever comes of them."""

import pytest

from service.adapters.ledger_timing import TIMED, timing
from service.application.inquiry import Inquiries
from service.application.ports import CommandQuery, Ledger, SlotBook, TokenBook, UnavailableError
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry


def statements(telemetry: RecordingTelemetry) -> dict[str, int]:
    """How often each was measured."""
    found = telemetry.observations.items()
    return {dict(labels)["statement"]: len(o) for (name, labels), o in found if name == "ledger_seconds"}


async def test_every_call_is_measured_under_its_name() -> None:
    telemetry = RecordingTelemetry()
    ledger = timing(FakeLedger(), telemetry)
    await ledger.plans(CommandQuery())
    await ledger.plans(CommandQuery())
    await ledger.unpublished(5)
    assert statements(telemetry) == {"plans": 2, "unpublished": 1}


async def test_a_call_that_fails_is_measured_and_fails_all_the_same() -> None:
    telemetry = RecordingTelemetry()
    ledger = timing(FakeLedger(), telemetry)
    await ledger.close()
    with pytest.raises(UnavailableError):
        await ledger.unpublished(5)
    assert statements(telemetry) == {"unpublished": 1}


def test_every_name_is_a_method_of_a_port() -> None:
    known = {name for port in (Ledger, Inquiries, SlotBook, TokenBook) for name in dir(port)}
    assert set(TIMED) <= known
