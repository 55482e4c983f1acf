"""Which fields a request may and must have, and of what kind; each vendor names the findings its own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

FieldKind = Literal["uint", "int", "string", "boolean", "list of uint", "list of string", "object", "list of object"]
_ITEMS: Mapping[str, FieldKind] = {
    "list of uint": "uint",
    "list of string": "string",
    "list of object": "object",
}
FindingKind = Literal["unknown", "missing", "wrong type"]


@dataclass(frozen=True, kw_only=True)
class FieldRule:
    """One field of a request. ``inner`` are the fields of an object or of a list's objects."""

    kind: FieldKind
    required: bool = False
    china_only: bool = False
    inner: Mapping[str, FieldRule] | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong with a request, and where (dotted path)."""

    kind: FindingKind
    path: str


def required(kind: FieldKind, *, inner: Mapping[str, FieldRule] | None = None) -> FieldRule:
    """A field that must be there."""
    return FieldRule(kind=kind, required=True, inner=inner)


def optional(kind: FieldKind, *, china_only: bool = False, inner: Mapping[str, FieldRule] | None = None) -> FieldRule:
    """A field that may be absent; null is not absence but a wrong type."""
    return FieldRule(kind=kind, china_only=china_only, inner=inner)


def first_finding(
    params: Mapping[str, Any], rules: Mapping[str, FieldRule], *, china: bool = True, where: str = ""
) -> Finding | None:
    """The first thing wrong: unknown before missing before wrong types; without ``china`` its fields are unknown."""
    for name in params:
        rule = rules.get(name)
        if rule is None or (rule.china_only and not china):
            return Finding(kind="unknown", path=where + name)
    for name, rule in rules.items():
        if rule.required and name not in params:
            return Finding(kind="missing", path=where + name)
    for name, value in params.items():
        finding = _value_finding(value, rules[name], china=china, path=where + name)
        if finding is not None:
            return finding
    return None


def _value_finding(value: Any, rule: FieldRule, *, china: bool, path: str) -> Finding | None:
    if not _fits(value, rule.kind):
        return Finding(kind="wrong type", path=path)
    if rule.inner is None:
        return None
    for index, item in enumerate(value if isinstance(value, list) else [value]):
        place = f"{path}.{index}." if isinstance(value, list) else f"{path}."
        finding = first_finding(item, rule.inner, china=china, where=place)
        if finding is not None:
            return finding
    return None


def _fits(value: Any, kind: FieldKind) -> bool:
    if isinstance(value, list):
        item_kind = _ITEMS.get(kind)
        return item_kind is not None and all(_fits(item, item_kind) for item in value)
    match value:
        case bool():
            return kind == "boolean"
        case int():
            return (kind == "uint" and 0 <= value < 2**64) or (kind == "int" and -(2**63) <= value < 2**63)
        case str():
            return kind == "string"
        case dict():
            return kind == "object"
    return False
