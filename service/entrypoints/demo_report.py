"""What the demo shows at its end: what came in, how it ended and why, what the vendors saw, what to type next."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from service.domain.advice import advise
from service.domain.command import Command, CommandState, Plan, PlanState
from service.entrypoints.demo_day import DayRecord
from service.sandbox.journal import Entry

KINDS: Final[Mapping[str, str]] = {
    "hired": "agents hired",
    "second_id": "… the same hire, told again under a second id",
    "purchased": "numbers purchased at TCCC",
    "refused": "… one that the review refuses",
    "routed": "access codes purchased at AICC",
    "incomplete": "hires without an extension",
    "repeated": "delivered twice by Kafka",
    "malformed": "malformed records",
    "foreign": "other systems' events",
}
COMES_TO: Final[Mapping[str, str]] = {
    "hired": "an extension each, and its registration",
    "second_id": "found unchanged, nothing sent",
    "purchased": "form, review, call-in URL",
    "refused": "plan failed: refused",
    "routed": "a called route each",
    "incomplete": "plan failed: the field is named",
    "repeated": "known by id and content, nothing done",
    "malformed": "dead letters, byte for byte",
    "foreign": "ignored and counted",
}
ENDS: Final = ("done", "unchanged", "adopted", "failed", "cancelled", "doubt", "waiting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything the tables are made of."""

    day: Sequence[DayRecord]
    plans: Sequence[Plan]
    commands: Sequence[Command]
    journal: Sequence[Entry]
    url: str
    sandbox_url: str
    broker: str
    stay: bool


def print_report(report: Report, console: Console, *, done: bool) -> None:
    """Print the tables."""
    console.print(_what_came_in(report))
    console.print(_how_it_ended(report))
    console.print(_exceptions(report))
    tried_again = sum(command.retries for command in report.commands)
    console.print(f"{tried_again} tries were repeated by themselves: throttled, bad gateway, expired token.\n")
    console.print(_vendors(report))
    if not done:
        console.print("[yellow]Not everything had ended at the deadline.[/yellow]")
    _next(report, console)


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )


def _what_came_in(report: Report) -> Table:
    counts = Counter(record.what for record in report.day)
    table = _table("What came in")
    table.add_column("records", justify="right")
    table.add_column("what")
    table.add_column("what Cordboard makes of it")
    for kind, meaning in KINDS.items():
        table.add_row(str(counts[kind]), meaning, COMES_TO[kind])
    return table


def _how_it_ended(report: Report) -> Table:
    table = _table("How the commands ended")
    by_operation: dict[str, Counter[str]] = defaultdict(Counter)
    for command in report.commands:
        by_operation[command.operation][_end(command)] += 1
    shown = [name for name in ENDS if any(ends[name] for ends in by_operation.values())]
    table.add_column("operation", no_wrap=True)
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for operation, ends in sorted(by_operation.items()):
        table.add_row(_plain(operation), *(str(ends[name] or "·") for name in shown))
    return table


def _plain(operation: str) -> str:
    return operation.rpartition(".")[2]


def _end(command: Command) -> str:
    match command.state:
        case CommandState.SUCCEEDED:
            return command.result or "done"
        case CommandState.IN_DOUBT:
            return "doubt"
        case CommandState.FAILED | CommandState.CANCELLED | CommandState.STALE | CommandState.SUPERSEDED:
            return "failed" if command.state is CommandState.FAILED else "cancelled"
        case _:
            return "waiting"


def _exceptions(report: Report) -> Table:
    table = _table("What did not go by itself, and why")
    table.add_column("subject", no_wrap=True)
    table.add_column("stands", no_wrap=True)
    table.add_column("why, and what to do")
    doubts = {c.plan_id: c for c in report.commands if c.state is CommandState.IN_DOUBT}
    for plan in report.plans:
        doubt = doubts.get(plan.id)
        if plan.state is PlanState.FAILED and plan.failure is not None:
            failure, stands = plan.failure, "failed"
        elif doubt is not None and doubt.failure is not None:
            failure, stands = doubt.failure, "in doubt"
        else:
            continue
        subject = plan.subject.partition(":")[2]
        table.add_row(subject, stands, f"{failure.code}: {failure.message}. → {advise(failure).text}")
    return table


def _vendors(report: Report) -> Table:
    table = _table("What the vendors saw")
    table.add_column("operation", no_wrap=True)
    for name in ("requests", "effects", "most in 1 s", "quota"):
        table.add_column(name, justify="right", no_wrap=True)
    requests: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in report.journal:
        if entry.vendor != "console" and entry.action:
            requests[entry.vendor, entry.action].append(entry)
    for (vendor, action), entries in sorted(requests.items()):
        effects = sum(entry.effect_applied and entry.effect != "token" for entry in entries)
        most = _most_in_a_second([entry.arrival for entry in entries])
        quota = 20 if vendor == "tencent_ccc" else 5
        table.add_row(action, str(len(entries)), str(effects or "·"), str(most), str(quota))
    return table


def _most_in_a_second(arrivals: Sequence[float]) -> int:
    times = sorted(arrivals)
    return max(sum(start <= time < start + 1 for time in times) for start in times)


def _desk(report: Report, doubtful: str) -> Sequence[str]:
    """An SRE's round: find what failed, mend the cause, replay, see how it ended."""
    cordboard = f"CORDBOARD_HTTP__PORT={report.url.rpartition(':')[2]} .venv/bin/cordboard"
    failed = next((p for p in report.plans if p.failure is not None and p.failure.code.startswith("LimitEx")), None)
    subject = "agent:workday/A1055" if failed is None else failed.subject
    return (
        f"{cordboard} failures                                # what is failing, since when, how many",
        f"{cordboard} explain {subject}             # why this one has no extension",
        f"curl -X DELETE {report.sandbox_url}/_sandbox/faults       # buy seats: the vendor is well again",
        f"{cordboard} replay --code 'LimitExceeded*' --dry-run  # what would a replay do?",
        f"{cordboard} replay --code 'LimitExceeded*' --reason 'seats were bought'",
        f"{cordboard} list --state in_doubt                    # then: explain, settle",
        f"{cordboard} explain {doubtful}",
        f"curl {report.url}/metrics",
        f"curl {report.sandbox_url}/_sandbox/journal          # what the vendors saw",
        f"broker: {report.broker}; what is told from here on is printed below",
    )


def _next(report: Report, console: Console) -> None:
    console.print("\n[bold]Next[/bold]")
    doubtful = next((c.id for c in report.commands if c.state is CommandState.IN_DOUBT), "ID")
    if report.stay:
        for line in _desk(report, doubtful):
            console.print(f"  {line}", soft_wrap=True, highlight=False)
        return
    for line in (
        "make demo ARGS=--stay            # keep broker, sandbox and API up, to look around",
        ".venv/bin/cordboard --help       # every command, with examples",
        "docs/configuration.md            # point it at your own Kafka and vendor accounts",
    ):
        console.print(f"  {line}", soft_wrap=True, highlight=False)
