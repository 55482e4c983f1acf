"""`cordboard contracts`: the promise to others, listed, checked against its models, or written out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from contracts.generate import drift, write
from contracts.inbound import INBOUND, INBOUND_TOPIC
from contracts.outbound import OUTBOUND
from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, say, show_rows, stop

COLUMNS: Final = {"type": "type", "direction": "direction", "topic": "topic", "schema": "schema"}


def show_contracts(output: Output) -> None:
    """Every type of event, where it comes from or goes to, and its schema."""
    read = [_row(name, "read", INBOUND_TOPIC[name.partition(".")[0]]) for name in sorted(INBOUND)]
    told = [_row(name, "published", entry.topic) for name, entry in sorted(OUTBOUND.items())]
    show_rows([*read, *told], COLUMNS, output)


def _row(name: str, direction: str, topic: str) -> dict[str, str]:
    return {"type": name, "direction": direction, "topic": topic, "schema": f"contracts/schemas/{name}.json"}


def check_contracts() -> ExitCode:
    """Say where the committed documents differ from the models."""
    found = drift()
    for line in found:
        say(line)
    if not found:
        say("the documents are those of the models")
    return ExitCode.FAILED if found else ExitCode.DONE


def export_contracts(folder: Path) -> ExitCode:
    """Write every document below a folder of its own: schemas of types that are no more are removed from it."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "asyncapi.yaml").is_file():
        raise stop(f"{folder} holds something else; name a new or empty folder", ExitCode.REFUSED)
    try:
        write(folder)
    except OSError as error:
        raise stop(f"{folder} can't be written: {error.strerror}", ExitCode.FAILED) from None
    say(f"written to {folder}")
    return ExitCode.DONE
