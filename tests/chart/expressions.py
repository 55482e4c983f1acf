"""What an expression of PromQL asks for: the figures it names, and every label that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import promql_parser
import yaml

from service.application.telemetry import CATALOGUE, LABELS

ROOT: Final = Path(__file__).resolve().parents[2]
RULES: Final = ROOT / "helm" / "rules" / "cordboard.rules.yaml"
OF_PROMETHEUS: Final = frozenset({"ALERTS", "ALERTS_FOR_STATE"})
"""Series that Prometheus makes of the alerts."""
LABELS_OF_ALERTS: Final = frozenset({"alertname", "alertstate", "severity"})
LABELS_OF_TARGETS: Final = frozenset({"instance"})
PARTS: Final = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@dataclass(frozen=True)
class Selector:
    """A series that is asked for, and the labels by which it is chosen."""

    name: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Rule:
    """A recording or an alert."""

    name: str
    expr: str
    alert: bool
    labels: dict[str, str]
    annotations: dict[str, str]


def rules() -> list[Rule]:
    """Every rule of the file."""
    groups: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return [
        Rule(
            name=rule.get("alert") or rule["record"],
            expr=rule["expr"],
            alert="alert" in rule,
            labels=rule.get("labels", {}),
            annotations=rule.get("annotations", {}),
        )
        for group in groups
        for rule in group["rules"]
    ]


def faults(expr: str, recorded: Sequence[str]) -> list[str]:
    """What an expression names that neither the catalogue nor a recording rule has."""
    selectors, grouping = read(expr)
    found = [f"no such figure: {s.name}" for s in selectors if not _is_known(s.name, recorded)]
    for selector in selectors:
        found += [f"{selector.name} has no label {label}" for label in selector.labels - _labels_of(selector.name)]
    known = frozenset(LABELS) | LABELS_OF_ALERTS | LABELS_OF_TARGETS | {"le"}
    return found + [f"no figure has the label {label}" for label in grouping - known]


def read(expr: str) -> tuple[list[Selector], frozenset[str]]:
    """The selectors of an expression, and the labels that it groups or joins by."""
    nodes = _nodes(promql_parser.parse(expr))
    selectors = [
        Selector(node.name or "", frozenset(matcher.name for matcher in node.matchers.matchers))
        for node in nodes
        if isinstance(node, promql_parser.VectorSelector)
    ]
    return selectors, frozenset(label for node in nodes for label in _grouped_by(node))


def _nodes(root: Any) -> list[Any]:
    found: list[Any] = []
    promql_parser.walk(root, pre_visit=found.append)
    return found


def _grouped_by(node: Any) -> Sequence[str]:
    modifier = getattr(node, "modifier", None)
    labels = getattr(modifier, "labels", None) or getattr(getattr(modifier, "matching", None), "labels", None)
    return list(labels or ())


def _series() -> dict[str, frozenset[str]]:
    """By the name of each series that `/metrics` may show: its labels."""
    return {
        f"cordboard_{name}{part}": frozenset(entry.labels) | ({"le"} if part == "_bucket" else frozenset())
        for name, entry in CATALOGUE.items()
        for part in PARTS[entry.kind]
    }


SERIES: Final = _series()


def _is_known(name: str, recorded: Sequence[str]) -> bool:
    return name in SERIES or name in recorded or name in OF_PROMETHEUS


def _labels_of(name: str) -> frozenset[str]:
    return SERIES.get(name, frozenset(LABELS) | LABELS_OF_ALERTS)
