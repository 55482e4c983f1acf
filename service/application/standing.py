"""Standing: the figures that the ledger knows better than any process, set when somebody scrapes them.

Called by the HTTP API. Every process of a fleet shows the same: dashboards take the largest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from service.application.ends import WHOLE_ACCOUNT
from service.application.inquiry import Tally
from service.application.inspection import DeskLedger, is_due, is_held
from service.application.ports import Clock
from service.application.telemetry import Gauge, Telemetry
from service.domain.account import Account
from service.domain.command import UNFINISHED
from service.domain.ledger_state import Hold, HoldKind

KNOWN_BY_THE_LEDGER: Final[tuple[Gauge, ...]] = (
    "commands",
    "held_commands",
    "holds",
    "oldest_command_seconds",
    "quarantined",
    "replays",
)
Figures = dict[tuple[str, ...], float]


async def show_standing(
    telemetry: Telemetry,
    ledger: DeskLedger,
    *,
    accounts: Mapping[str, Account],
    calls: Mapping[str, Sequence[str]],
    clock: Clock,
) -> None:
    """Set every gauge that tells of the whole ledger. Raises UnavailableError while it is away."""
    tallies = [t for t in await ledger.tallies() if t.kind == "command" and t.state in UNFINISHED and t.number > 0]
    holds = await ledger.holds(standing=True)
    _show_commands(telemetry, tallies, holds)
    _show_holds(telemetry, holds, accounts)
    now = clock.now()
    oldest = await ledger.oldest()
    telemetry.show("oldest_command_seconds", {key: max(0.0, now - since) for key, since in oldest.items()})
    replays: Figures = dict(Counter((replay.state.value,) for replay in await ledger.replays(unfinished=True)))
    telemetry.show("replays", {("running",): 0, ("paused",): 0, **replays})
    telemetry.show(
        "quota_configured",
        {(name, call): account.rate(call) for name, account in accounts.items() for call in calls[account.vendor]},
    )


def hide_standing(telemetry: Telemetry) -> None:
    """Show none of them: nobody knows while the ledger is away."""
    for gauge in KNOWN_BY_THE_LEDGER:
        telemetry.show(gauge, {})


def _show_commands(telemetry: Telemetry, tallies: Sequence[Tally], holds: Sequence[Hold]) -> None:
    commands: Counter[tuple[str, ...]] = Counter()
    held: Counter[tuple[str, ...]] = Counter()
    for tally in tallies:
        commands[tally.operation, tally.account, tally.lane, tally.state, tally.cause] += tally.number
        held[tally.account,] += tally.number if is_due(tally) and is_held(tally, holds) else 0
    telemetry.show("commands", dict(commands))
    telemetry.show("held_commands", dict(held))


def _show_holds(telemetry: Telemetry, holds: Sequence[Hold], accounts: Mapping[str, Account]) -> None:
    kinds: Figures = {(kind.value,): 0.0 for kind in HoldKind}
    kinds.update(Counter((hold.kind.value,) for hold in holds))
    telemetry.show("holds", kinds)
    sick: Figures = {(name, WHOLE_ACCOUNT): 0.0 for name in accounts}
    quarantines = (hold for hold in holds if hold.kind is HoldKind.QUARANTINE)
    sick.update({(hold.account or "", hold.operation or WHOLE_ACCOUNT): 1.0 for hold in quarantines})
    telemetry.show("quarantined", sick)
