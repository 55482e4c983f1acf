"""Writes the committed documents made from the models, and finds where they have drifted from them.

`python -m contracts.generate` writes; with `--check` it changes nothing and ends with 1 if anything differs.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from contracts.asyncapi import asyncapi_document
from contracts.json_schemas import event_schemas, sealed_credential_schema

ROOT: Final = Path(__file__).parent
"""The folder that the documents live in: that of this package."""
SCHEMAS: Final = "schemas"
SEALED: Final = "sealed-credential.v1"
ASYNCAPI: Final = "asyncapi.yaml"

_NOTICE: Final = "# Made from the models by `python -m contracts.generate`; edit those.\n"


def render() -> dict[str, str]:
    """Return every document's text by its path below the contracts folder; the same text every time."""
    every = event_schemas() | {SEALED: sealed_credential_schema()}
    schemas = {
        f"{SCHEMAS}/{name}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in sorted(every.items())
    }
    return schemas | {ASYNCAPI: _NOTICE + _as_yaml(asyncapi_document())}


def drift(root: Path = ROOT) -> list[str]:
    """Return a line for every document below `root` that is missing, differs from the models, or is left over."""
    wanted = render()
    present = {path.relative_to(root).as_posix() for path in (root / SCHEMAS).glob("*.json")}
    left_over = sorted(present - wanted.keys())
    return [line for path, text in wanted.items() if (line := _difference(root, path, text))] + [
        f"{path}: left over, no event has this type" for path in left_over
    ]


def write(root: Path = ROOT) -> None:
    """Write every document below `root`, and remove the schemas of types that are no more."""
    wanted = render()
    (root / SCHEMAS).mkdir(parents=True, exist_ok=True)
    for path, text in wanted.items():
        (root / path).write_text(text, encoding="utf-8", newline="\n")
    for present in (root / SCHEMAS).glob("*.json"):
        if present.relative_to(root).as_posix() not in wanted:
            present.unlink()


def main(arguments: Sequence[str]) -> int:
    """Write the documents, or check them; return the exit code (2 for arguments that are not known)."""
    match list(arguments):
        case []:
            write()
            return 0
        case ["--check"]:
            found = drift()
            sys.stderr.writelines(f"{line}\n" for line in found)
            return 1 if found else 0
        case _:
            sys.stderr.write("usage: python -m contracts.generate [--check]\n")
            return 2


def _difference(root: Path, path: str, text: str) -> str | None:
    committed = root / path
    if not committed.is_file():
        return f"{path}: missing"
    return None if committed.read_bytes() == text.encode() else f"{path}: differs from the models"


def _as_yaml(document: object) -> str:
    return yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=118)


class _PlainDumper(yaml.SafeDumper):
    """Writes a value out each time it occurs, instead of as an alias of the first."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
