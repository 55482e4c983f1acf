"""What planning makes of one event, before the ledger knows about it: steps, a fact, or a refusal."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from service.domain.account import Account
from service.domain.outcome import ErrorClass, Failure
from service.domain.value import Value
from service.domain.wanted import Wanted

T = TypeVar("T")


class Step(StrEnum):
    """The steps a plan can have, by what they bring about."""

    EXTENSION = "extension"
    REGISTRATION = "registration"
    APPLICATION = "application"
    APPROVAL = "approval"
    CALL_IN = "call_in"
    ROUTE = "route"


class StepBlueprint(Value, frozen=True, kw_only=True):
    """One command to be: the step, the operation as `vendor.Operation`, and what it wants."""

    step: Step
    operation: str
    wanted: Wanted


class Blueprint(Value, frozen=True, kw_only=True):
    """The commands an event turns into, in their order, about one resource."""

    subject: str
    resource: str
    account: Account
    steps: tuple[StepBlueprint, ...]


class FactKind(StrEnum):
    """What a fact says."""

    APPROVED = "approved"
    REFUSED = "refused"


class FactBlueprint(Value, frozen=True, kw_only=True):
    """An event that ends a wait of its subject."""

    subject: str
    kind: FactKind
    apply_id: str | None


class Refusal(Value, frozen=True, kw_only=True):
    """No command can come of this event as things stand; the plan fails with the reason."""

    subject: str
    account: str | None
    failure: Failure


Planned = Blueprint | FactBlueprint | Refusal


class CannotPlanError(Exception):
    """Raised inside a planning rule, turned into a Refusal by `planning.plan_event`."""

    def __init__(self, failure: Failure) -> None:
        """Keep the failure."""
        super().__init__(failure.message)
        self.failure = failure


def incomplete(field: str, why: str) -> CannotPlanError:
    """A field that the vendor needs and that neither event nor settings give."""
    return CannotPlanError(
        Failure(error_class=ErrorClass.INCOMPLETE, code=f"missing:{field}", message=why, field=field)
    )


def invalid(field: str, why: str) -> CannotPlanError:
    """A field that is given, and can't be used as the account's settings are; `why` shows nothing of its value."""
    return CannotPlanError(
        Failure(error_class=ErrorClass.INCOMPLETE, code=f"invalid:{field}", message=why, field=field)
    )


def unsupported(field: str | None, why: str) -> CannotPlanError:
    """Something the vendor lacks, or that Cordboard does not do."""
    code = "unsupported" if field is None else f"unsupported:{field}"
    return CannotPlanError(Failure(error_class=ErrorClass.UNSUPPORTED, code=code, message=why, field=field))


def first_given(field: str, *values: T | None) -> T:
    """The first value that somebody gave, event before settings."""
    for value in values:
        if value is not None:
            return value
    raise incomplete(field, f"`{field}` is given neither by the event nor by the account's settings")
