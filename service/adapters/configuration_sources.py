"""Where configuration comes from: a YAML file and the environment, as plain documents with their faults.

No fault repeats a value: a key may have been pasted into the wrong place.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource
from yaml.nodes import CollectionNode, MappingNode, Node

Document = dict[str, Any]

PREFIX: Final = "CORDBOARD_"
DELIMITER: Final = "__"
MAX_FILE_BYTES: Final = 1024 * 1024
MOST_VALUES: Final = 10_000
MERGE: Final = "tag:yaml.org,2002:merge"
NOT_SETTINGS: Final = ("CORDBOARD_CONFIG", "CORDBOARD_FAILPOINT", "CORDBOARD_SERVICE_", "CORDBOARD_PORT")
"""Names that are no settings: the command line's own, a test's failpoints, and what Kubernetes tells pods of a Service
`cordboard`."""

TOKEN: Final = "CORDBOARD_TOKEN"  # noqa: S105 - a name
"""What the command line shows a server to be let in; alone, so that a misspelt setting is still noticed."""


@dataclass(frozen=True, slots=True, order=True)
class SettingsFault:
    """One thing wrong with the configuration: where (dotted path, file or variable), and a sentence without values."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class _RefusedError(Exception):
    """The file can't be used as a whole."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses what YAML would swallow: a key given twice, a key that is no text, aliases without end."""

    def construct_document(self, node: Node) -> Any:
        if _written_out(node, {}) > MOST_VALUES:
            raise _RefusedError(f"stands for more than {MOST_VALUES} values once its aliases are written out")
        return super().construct_document(node)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - the base class's
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            where = f"line {key_node.start_mark.line + 1}"
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _RefusedError(f"{where}: a key must be text; put it in quotes")
            if key in seen:
                raise _RefusedError(f"{where}: a key is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _written_out(node: Node, known: dict[int, float]) -> float:
    """How many values a node stands for, its aliases included; infinitely many if it holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # while it is being counted
        inside = node.value if isinstance(node, CollectionNode) else ()
        parts = (part for item in inside for part in (item if isinstance(item, tuple) else (item,)))
        known[id(node)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(node)]


def read_yaml(path: Path) -> Document | SettingsFault:
    """The file's mapping; empty for an empty file."""
    try:
        document = _parsed(path)
    except _RefusedError as refused:
        return SettingsFault(str(path), str(refused))
    return document


def _parsed(path: Path) -> Document:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise _RefusedError(f"can't be read: {error.strerror or type(error).__name__}") from None
    except UnicodeDecodeError:
        raise _RefusedError("is not UTF-8 text") from None
    if len(content) > MAX_FILE_BYTES:
        raise _RefusedError(f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        raise _RefusedError(f"is not readable as YAML{where}") from None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, TypeError):  # nonsense under a tag
        raise _RefusedError("is not readable as YAML") from None
    if document is not None and not isinstance(document, dict):
        raise _RefusedError("must hold a mapping of settings")
    return document or {}


class _Environment(EnvSettingsSource):
    """The variables of a given mapping; lists as JSON or separated by commas."""

    def __init__(self, model: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(model)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items() if value != ""}

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:  # noqa: ARG002 - as the base
        """Lists and mappings; where the field is not known (a vendor's own), other text stays what it is."""
        try:
            decoded = orjson.loads(value)
        except orjson.JSONDecodeError:
            return value if field is None else [part.strip() for part in str(value).split(",")]
        return decoded if field is not None or isinstance(decoded, list | dict) else value


def read_environment(model: type[BaseSettings], environ: Mapping[str, str]) -> tuple[Document, list[SettingsFault]]:
    """What `CORDBOARD_…` variables say, nested as the settings are; and those that name no setting at all."""
    ours = {
        name: value
        for name, value in environ.items()
        if name.upper().startswith(PREFIX) and not name.upper().startswith(NOT_SETTINGS) and name != TOKEN
    }
    faults = [
        SettingsFault(name, f"names no setting; the first part is one of {', '.join(model.model_fields)}")
        for name in sorted(ours)
        if name.lower().removeprefix(PREFIX.lower()).split(DELIMITER)[0] not in model.model_fields
    ]
    return _Environment(model, ours)(), faults


def overlay(below: Document, above: Document) -> Document:
    """Two documents as one; `above` wins. A secret given there displaces its `…_file` below, and the reverse."""
    displaced = {f"{key}_file" for key in above} | {key.removesuffix("_file") for key in above}
    merged = {key: value for key, value in below.items() if key not in displaced}
    for key, value in above.items():
        held = below.get(key)
        merged[key] = overlay(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return merged


def variable(*path: str) -> str:
    """The variable that sets the setting at a path."""
    return PREFIX + DELIMITER.join(part.replace(".", "_").upper() for part in path)
