"""What the desk's commands ask of the server, and how its answers are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from service.entrypoints.cli_server import ATTEMPT_COLUMNS, COMMAND_COLUMNS, HISTORY_COLUMNS, Server, outcome_cell
from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, console, say, show_fields, show_json, show_rows

Asked = Mapping[str, str | None]

FAILURE_COLUMNS: Final = {
    "number": "failed",
    "account": "account",
    "operation": "operation",
    "error_class": "class",
    "code": "code",
    "first_at": "since",
    "last_at": "last",
    "advice": "what to do",
}
HOLD_COLUMNS: Final = {
    "id": "id",
    "kind": "kind",
    "account": "account",
    "operation": "operation",
    "subject": "subject",
    "resource": "resource",
    "reason": "reason",
    "actor": "by",
    "created_at": "since",
    "released_at": "released",
}
QUOTA_COLUMNS: Final = {
    "accounts": "accounts",
    "operation": "operation",
    "configured": "configured",
    "changed_to": "changed to",
    "changed_at": "changed",
    "actor": "by",
    "reason": "reason",
}
QUEUE_COLUMNS: Final = {
    "accounts": "accounts",
    "operation": "operation",
    "rate": "used/s",
    "backlog": "backlog",
    "empty_in_seconds": "empty in s",
    "held": "held",
    "not_due": "not due",
}
LETTER_COLUMNS: Final = {
    "id": "dead letter",
    "state": "state",
    "reason": "why",
    "field": "field",
    "message": "message",
    "size": "bytes",
    "seen_at": "seen",
}
EVENT_COLUMNS: Final = {
    "received_at": "received",
    "type": "type",
    "id": "event",
    "subject": "subject",
    "source": "source",
    "topic": "topic",
    "partition": "part.",
    "offset": "offset",
}
WAITED: Final = ("in the queue", "for the quota", "at the vendor")
ACT_COLUMNS: Final = {"at": "at", "actor": "who", "kind": "what", "object": "to", "reason": "why", "detail": "detail"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An act: where it is posted, and what is asked."""

    path: str
    document: Mapping[str, Any]


def quoted(part: str) -> str:
    """An id as part of a path."""
    return quote(part, safe="")


def act(server: Server, wanted: Wanted, output: Output, *, dry_run: bool) -> ExitCode:
    """Have it done, and show what the server says; a dry run shows what would be asked."""
    if dry_run:
        say("a dry run: nothing was sent")
        show_json({"post": wanted.path, "body": dict(wanted.document)})
        return ExitCode.DONE
    answer = server.post(wanted.path, wanted.document)
    if output is Output.JSON:
        show_json(answer)
    else:
        apart = ("plan", "attempts_made", "history", "wanted", "facts")
        show_fields({name: value for name, value in answer.items() if name not in apart})
    return ExitCode.DONE


def _query(asked: Asked) -> list[tuple[str, str]]:
    return [(name, value) for name, value in asked.items() if value is not None]


def failures(server: Server, asked: Asked, output: Output) -> ExitCode:
    """What is failing."""
    rows = server.get("/v1/failures", _query(asked))["items"]
    show_rows(rows, FAILURE_COLUMNS, output, empty="nothing has failed")
    return ExitCode.DONE


def explain(server: Server, about: str, output: Output, *, personal: bool) -> ExitCode:
    """One name explained."""
    asked = [("about", about), *([("personal", "show")] if personal else [])]
    found = server.get("/v1/explain", asked)
    if output is Output.JSON:
        show_json(found)
        return ExitCode.DONE
    for sentence in found["summary"]:
        console().print(sentence, soft_wrap=True)
    for trace in found["plans"]:
        _show_trace(trace)
    if found["bindings"]:
        console().print()
        columns = {
            "subject": "subject",
            "resource": "resource",
            "state": "binding",
            "ours": "ours",
            "applied": "applied",
        }
        show_rows(found["bindings"], columns, Output.TABLE)
    if found["more"]:
        say(f"{found['more']} earlier plans are left out")
    return ExitCode.DONE


def _show_trace(trace: Mapping[str, Any]) -> None:
    plan, wait = trace["plan"], trace["wait"]
    console().print()
    show_fields(
        {
            "plan": plan["id"],
            "state": plan["state"],
            "epoch": plan["epoch"],
            "event": f"{plan['event']['type']} {plan['event']['id']} from {plan['event']['source']}",
            "came from": "{topic}/{partition}@{offset}".format(**plan["event"]),
            "decided": trace["decided"],
            "waits for": None if wait is None else wait["sentence"],
            "who acts": None if wait is None else wait["who_acts"],
            "expected end": None if wait is None else wait["expected_at"],
            "overtaken by": ", ".join(trace["overtaken_by"]),
            "told": "\n".join(f"{one['published_at'] or 'not yet':<24}  {one['type']}" for one in trace["told"]),
        }
    )
    show_rows(
        [step | {"outcome": outcome_cell(step)} for step in trace["steps"]], COMMAND_COLUMNS, Output.TABLE, empty=""
    )
    for step in trace["steps"]:
        console().print(f"\n{step['step']}: {_time_spent(step)}")
        if step["attempts_made"]:
            show_rows(step["attempts_made"], ATTEMPT_COLUMNS, Output.TABLE)
        show_rows(step["history"], HISTORY_COLUMNS, Output.TABLE)


def _time_spent(step: Mapping[str, Any]) -> str:
    """Where a command's time went."""
    parts = ("queue", "quota", "vendor")
    return ", ".join(f"{step[f'{part}_seconds']:.3f} s {word}" for part, word in zip(parts, WAITED, strict=True))


def holds(server: Server, output: Output, *, released: bool) -> ExitCode:
    """Holds and quarantines."""
    rows = server.get("/v1/holds", [("state", "released" if released else "standing")])["items"]
    show_rows(rows, HOLD_COLUMNS, output, empty="nothing is held")
    return ExitCode.DONE


def quotas(server: Server, output: Output) -> ExitCode:
    """Every quota."""
    rows = server.get("/v1/quotas")["items"]
    joined = [row | {"accounts": ", ".join(row["accounts"])} for row in rows]
    show_rows(rows if output is Output.JSON else joined, QUOTA_COLUMNS, output)
    return ExitCode.DONE


def forecast(server: Server, hires: int, account: str | None, output: Output) -> ExitCode:
    """When the backlog is empty."""
    found = server.get("/v1/forecast", _query({"hires": str(hires), "account": account}))
    if output is Output.JSON:
        show_json(found)
        return ExitCode.DONE
    rows = [
        queue
        | {
            "accounts": ", ".join(queue["accounts"]),
            "backlog": _by_lane(queue["backlog"]),
            "empty_in_seconds": _by_lane(queue["empty_in_seconds"]),
        }
        for queue in found["queues"]
    ]
    show_rows(rows, QUEUE_COLUMNS, output, empty="nothing waits")
    say(f"empty in {found['empty_in_seconds']:.0f} s, at {found['empty_at']}, if nothing else comes")
    return ExitCode.DONE


def _by_lane(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{lane} {figure:g}" for lane, figure in figures.items())


def events(server: Server, asked: Asked, output: Output) -> ExitCode:
    """Events."""
    return _listed(server, "/v1/events", asked, output, EVENT_COLUMNS)


def dead_letters(server: Server, asked: Asked, output: Output) -> ExitCode:
    """Dead letters."""
    return _listed(server, "/v1/dead-letters", asked, output, LETTER_COLUMNS)


def acts(server: Server, asked: Asked, output: Output) -> ExitCode:
    """What operators did."""
    return _listed(server, "/v1/acts", asked, output, ACT_COLUMNS)


def _listed(server: Server, path: str, asked: Asked, output: Output, columns: Mapping[str, str]) -> ExitCode:
    page = server.get(path, _query(asked))
    if output is Output.JSON:
        show_json(page)
        return ExitCode.DONE
    show_rows(page["items"], columns, output, empty="nothing matches")
    if page["next"] is not None:
        say(f"there are more: --after {page['next']}")
    return ExitCode.DONE


def dead_letter(server: Server, letter_id: str, output: Output) -> ExitCode:
    """One dead letter."""
    found = server.get(f"/v1/dead-letters/{quoted(letter_id)}")
    if output is Output.JSON:
        show_json(found)
    else:
        show_fields(found)
    return ExitCode.DONE
