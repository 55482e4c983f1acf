"""`cordboard replay` and `replays`: preview, ask, begin, watch."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import typer

from service.entrypoints.cli_desk_pages import quoted
from service.entrypoints.cli_server import Server, ServerError
from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, console, say, show_fields, show_json, show_rows

LOOK_SECONDS: Final = 0.5
SAMPLE_COLUMNS: Final = {"id": "plan", "subject": "subject", "eligible": "eligible", "sentence": "what would happen"}
REPLAY_COLUMNS: Final = {
    "id": "replay",
    "state": "state",
    "size": "plans",
    "outcomes": "outcomes",
    "actor": "by",
    "reason": "reason",
    "created_at": "made",
    "ended_at": "ended",
}
ITEM_COLUMNS: Final = {
    "number": "no.",
    "plan_id": "plan",
    "subject": "subject",
    "outcome": "outcome",
    "sentence": "why",
    "at": "at",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be replayed, and how."""

    selection: Mapping[str, Any]
    rate: float | None
    reason: str | None
    yes: bool
    wait: bool


def replay(server: Server, wish: Wish, output: Output, *, dry_run: bool) -> ExitCode:
    """Preview; unless that is all, ask, begin and watch."""
    paced = {} if wish.rate is None else {"rate": wish.rate}
    preview = server.post("/v1/replay-preview", {"selection": dict(wish.selection), **paced})
    if dry_run:
        _show_preview(preview, output)
        return ExitCode.DONE
    if output is Output.TABLE:
        _show_preview(preview, output)
    if preview["size"] == 0:
        raise ServerError(ExitCode.NOT_FOUND, "nothing that failed matches")
    if not wish.yes and not _agreed(preview):
        say("nothing was begun; --yes begins without asking")
        return ExitCode.REFUSED
    asked = {"selection": dict(wish.selection), **paced, "reason": wish.reason, "expected": preview["size"]}
    made = server.post("/v1/replays", asked)
    say(f"{made['id']} begins {made['size']} plans")
    if not wish.wait:
        _show_replay(made, output)
        return ExitCode.DONE
    return _watched(server, made["id"], output)


def _agreed(preview: Mapping[str, Any]) -> bool:
    question = f"Replay {preview['eligible']} of {preview['size']} plans?"
    return sys.stdin.isatty() and typer.confirm(question, err=True)


def _show_preview(preview: Mapping[str, Any], output: Output) -> None:
    if output is Output.JSON:
        show_json(preview)
        return
    refused = ", ".join(f"{number} {why}" for why, number in preview["refused"].items())
    best, worst = preview["seconds_at_best"], preview["seconds_at_worst"]
    calls = ", ".join(f"{number} {operation}" for operation, number in preview["calls"].items())
    show_fields(
        {
            "chosen": preview["size"],
            "would run": preview["eligible"],
            "refused": refused,
            "parked": f"{preview['parked']} failed again before; --again takes them" if preview["parked"] else None,
            "vendor calls": calls,
            "done in": f"{best:.0f} s at best, {worst:.0f} s beside full traffic",
        }
    )
    if preview["samples"]:
        console().print()
        show_rows(preview["samples"], SAMPLE_COLUMNS, Output.TABLE)


def _watched(server: Server, replay_id: str, output: Output) -> ExitCode:
    """Watch until nothing of it is under way; 4 if some failed again, 1 if all did. What was refused is no failure."""
    from rich.console import Console  # noqa: PLC0415 - not needed without a bar
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("replayed", total=None)
        while True:
            found = server.get(f"/v1/replays/{quoted(replay_id)}")
            left = sum(found["outcomes"].get(outcome, 0) for outcome in ("pending", "running"))
            bar.update(task, total=found["size"], completed=found["size"] - left, description=found["state"])
            if left == 0 or found["state"] == "paused":
                break
            time.sleep(LOOK_SECONDS)
    _show_replay(found, output)
    return _code(found)


def _code(found: Mapping[str, Any]) -> ExitCode:
    wrong = found["outcomes"].get("failed_again", 0)
    if not wrong:
        return ExitCode.DONE
    return ExitCode.FAILED if wrong == found["size"] else ExitCode.PARTLY_FAILED


def list_replays(server: Server, output: Output, *, unfinished: bool) -> ExitCode:
    """The last replays."""
    page = server.get("/v1/replays", [("state", "unfinished" if unfinished else "all")])
    rows = [row if output is Output.JSON else row | {"outcomes": _counts(row)} for row in page["items"]]
    show_rows(rows, REPLAY_COLUMNS, output, empty="there is no replay")
    return ExitCode.DONE


def show_replay(server: Server, replay_id: str, output: Output, *, items: bool, wait: bool) -> ExitCode:
    """One replay, and each of its plans if asked for."""
    if wait:
        return _watched(server, replay_id, output)
    found = server.get(f"/v1/replays/{quoted(replay_id)}")
    rows = _items(server, replay_id) if items else []
    if output is Output.JSON:
        show_json(found | {"items": rows} if items else found)
        return ExitCode.DONE
    _show_replay(found, output)
    if items:
        console().print()
        show_rows(rows, ITEM_COLUMNS, output)
    return ExitCode.DONE


def _items(server: Server, replay_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    after: str | None = "0"
    while after is not None:
        page = server.get(f"/v1/replays/{quoted(replay_id)}/items", [("after", after), ("limit", "200")])
        rows += page["items"]
        after = page["next"]
    return rows


def _show_replay(found: Mapping[str, Any], output: Output) -> None:
    if output is Output.JSON:
        show_json(found)
        return
    refused = ", ".join(f"{number} {why}" for why, number in found["refused"].items())
    show_fields({**found, "outcomes": _counts(found), "refused": refused})


def _counts(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in found["outcomes"].items())
