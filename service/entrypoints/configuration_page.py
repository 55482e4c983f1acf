"""Makes `docs/configuration.md` from the settings' models: `python -m service.entrypoints.configuration_page`."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from service.adapters.configuration_sources import variable
from service.settings import Settings, section_model
from service.settings_sections import TokenSettings, TopicSettings
from service.vendors.registry import VENDORS

HEAD: Final = """# Configuration

<!-- Made from the settings' models by `python -m service.entrypoints.configuration_page`; edit those. -->

One YAML file (`--config FILE`, or the variable `CORDBOARD_CONFIG`) and the environment. Every value can be given by a
variable: `CORDBOARD_`, then the path in capitals with `__` between its parts; in the names of topics a dot becomes `_`.
Variables win over the file; an empty one counts as absent. Lists are written as JSON or with commas. Relative paths
count from the working folder.

Secrets (marked *secret*) come from a variable or from a file of their own (the setting ending in `_file`), never from
the YAML file. A file with a secret must not be readable by everybody. It is read anew while the server runs: replace
it, and what is sent a second later has the new secret. A file that is gone or empty leaves the last secret in use.

Certificates of vendors, brokers and the token endpoint are always verified, with their host names; no setting changes
that. `ca_file` says whom to trust instead of the system's authorities. The files of `kafka.security` are read anew for
each connection.

A configuration with faults starts nothing: the command tells all of them, each with its path and without any value,
and ends with 2. `cordboard check` also looks whether Kafka, the ledger and the vendors answer.

```yaml
kafka: {bootstrap_servers: "127.0.0.1:9092", group_id: cordboard}
ledger: sqlite:///cordboard.db
defaults:
  hr.events: {account: acme_cn, realm: workday}
  crm.events: {account: acme_cn}
accounts:
  acme_cn:
    vendor: tencent_ccc
    site: cn
    sdk_app_id: 1400000000
    secret_id: …
    secret_key_file: /run/secrets/acme_cn
    numbers: {sip_trunk_id: 12, call_type: both, callback_url: "https://calls.acme.example/in"}
```
"""

ACCOUNTS: Final = """\
An account's name has lower-case letters, digits and `_`; `vendor` says which of the tables below counts.
Quotas are requests per second, by operation, as `{CreateOwnNumberApply: 5, default: 20}`.
"""
TOKENS: Final = """\
`cordboard token NAME` makes a token and prints these lines; only its hash is kept. The name is lower-case letters,
digits, `_`, `.` and `-`. Without any token nobody is asked for one, which is possible on a loopback address only.
"""
NUMBERS: Final[Mapping[type, str]] = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def render_page() -> str:
    """The whole page; the same text every time."""
    parts = [HEAD, *_sections(), "## `defaults.<topic>`\n", _table(TopicSettings, ("defaults", "hr.events"))]
    parts += ["## `accounts.<name>`\n", ACCOUNTS]
    for vendor in VENDORS.values():
        parts += [f"### With `vendor: {vendor.name}`\n", _table(vendor.account_model, ("accounts", "acme"))]
    return "\n".join(parts)


def _sections() -> Iterator[str]:
    yield "## Top level\n"
    plain = ("ledger", "ledger_password_file", "ledger_password")
    yield _rows(_row(name, Settings.model_fields[name], ()) for name in plain)
    for name, field in Settings.model_fields.items():
        model = section_model(field.annotation)
        if model is not None:
            yield f"## `{name}`\n\n{_sentence(field.description)}\n"
            yield _table(model, (name,))
        if name == "http":
            yield f"### `http.tokens.<name>`\n\n{TOKENS}"
            yield _table(TokenSettings, ("http", "tokens", "alice"))


def _table(model: type[BaseModel], path: tuple[str, ...]) -> str:
    return _rows(_fields(model, path, ()))


def _fields(model: type[BaseModel], path: tuple[str, ...], below: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """One row for each setting; a section within shows its own settings under dotted names."""
    for name, field in model.model_fields.items():
        inner = section_model(field.annotation)
        if path[:1] == ("accounts",) and name == "name":
            continue
        if inner is None:
            yield _row(name, field, (*path, *below), ".".join((*below, name)))
        else:
            yield from _fields(inner, path, (*below, name))


def _row(name: str, field: FieldInfo, path: tuple[str, ...], shown: str | None = None) -> tuple[str, ...]:
    setting, environment = f"`{shown or name}`", f"`{variable(*path, name)}`"
    if name == "vendor":
        return setting, _kind(field, name), "needed", "whose account it is", environment
    return setting, _kind(field, name), _default(field), _sentence(field.description), environment


def _rows(rows: Iterator[tuple[str, ...]]) -> str:
    lines = ["| setting | type | default | meaning | variable |", "| --- | --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _sentence(text: str | None) -> str:
    text = (text or "").replace("\n", " ")
    return text[:1].upper() + text[1:]


def _kind(field: FieldInfo, name: str) -> str:
    annotation = _bare(field.annotation)
    if name.endswith("_file"):
        return "path"
    if annotation is SecretStr:
        return "text" if name in {"secret_id", "app_key"} else "text, *secret*"
    origin = typing.get_origin(annotation)
    if origin is Literal or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return " or ".join(f"`{choice}`" for choice in typing.get_args(annotation) or annotation)
    if origin is tuple:
        return "list of text"
    if origin is not None:
        return "mapping"
    return NUMBERS.get(typing.cast("type", annotation), "text")


def _bare(annotation: Any) -> Any:
    """Without what is put around a type."""
    if typing.get_origin(annotation) is Annotated:
        return _bare(typing.get_args(annotation)[0])
    if isinstance(annotation, UnionType) or typing.get_origin(annotation) is typing.Union:
        return _bare(next(part for part in typing.get_args(annotation) if part is not NoneType))
    return annotation


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    default = field.default
    if default is PydanticUndefined or default is None or default in ((), ""):
        return ""
    if isinstance(default, SecretStr):
        return "needed" if not default.get_secret_value() else ""
    if isinstance(default, tuple):
        return ", ".join(f"`{part}`" for part in default)
    return f"`{default.value if isinstance(default, Enum) else default}`"


if __name__ == "__main__":
    sys.stdout.write(render_page())
