"""Holds: a person stops work, and lets it go again. One row matched when claiming; no command is rewritten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from service.domain import announcements as tell
from service.domain.command import CommandState, Plan, PlanState
from service.domain.draft import Draft
from service.domain.idempotency_key import act_id
from service.domain.ledger_state import Act, Hold, HoldKind
from service.domain.settling import tell_waiting
from service.domain.value import Value, replace

_COULD_GO_ON: Final = frozenset({CommandState.PENDING, CommandState.WAITING, CommandState.IN_DOUBT})
SCOPES: Final = ("account", "operation", "subject", "resource")


class Scope(Value, frozen=True, kw_only=True):
    """What a hold stops: work that matches all that is given. Nothing given would be everything: refused elsewhere."""

    account: str | None = None
    operation: str | None = None
    subject: str | None = None
    resource: str | None = None

    def __str__(self) -> str:
        """As acts name it."""
        return " ".join(f"{name}:{value}" for name in SCOPES if (value := getattr(self, name)) is not None)


def hold_back(draft: Draft, scope: Scope, *, actor: str, reason: str) -> Hold:
    """Stop what matches, as of the next claim; what is being sent just now is not called back."""
    hold = Hold(
        id=act_id("hold", actor, draft.now, str(scope)),
        kind=HoldKind.HOLD,
        reason=reason,
        actor=actor,
        created_at=draft.now,
        account=scope.account,
        operation=scope.operation,
        subject=scope.subject,
        resource=scope.resource,
    )
    draft.put_act(Act(at=draft.now, actor=actor, kind="hold", object=str(scope), reason=reason, detail={"id": hold.id}))
    return draft.put_hold(hold)


def let_go(draft: Draft, hold: Hold, *, actor: str, reason: str, vendor: str | None) -> Hold:
    """Release a hold, or a quarantine that a person knows to be over; `vendor` is that of the account."""
    scope = Scope(account=hold.account, operation=hold.operation, subject=hold.subject, resource=hold.resource)
    detail = {"id": hold.id, "kind": hold.kind.value}
    draft.put_act(Act(at=draft.now, actor=actor, kind="release", object=str(scope), reason=reason, detail=detail))
    if hold.kind is HoldKind.QUARANTINE and vendor is not None:
        draft.tell(tell.account_recovered(hold, vendor, draft.now))
    return draft.put_hold(replace(hold, released_at=draft.now))


def tell_held(draft: Draft, plan: Plan, holds: Sequence[Hold]) -> None:
    """Say that a plan waits for a person, if one of the holds stops what it would do next."""
    steps = draft.steps_of(plan.id)
    current = next((step for step in steps if not step.state.ended), None)
    if plan.state is not PlanState.OPEN or current is None or current.state not in _COULD_GO_ON:
        return
    if any(hold.stops(current) for hold in holds):
        tell_waiting(draft, plan, "hold", expected_at=None)
