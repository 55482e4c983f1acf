"""Panels of Grafana as values: what is asked, how it is drawn. Grafana 10 and later, none but its own panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Draw = Literal["stat", "timeseries", "state-timeline", "table", "bargauge"]
Json = dict[str, Any]

SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
WIDTH: Final = 24
SCHEMA_VERSION: Final = 39
WORKS: Final[Sequence[Json]] = (
    {
        "type": "value",
        "options": {
            "0": {"text": "away", "color": "red", "index": 0},
            "1": {"text": "works", "color": "green", "index": 1},
        },
    },
)
NO_THRESHOLDS: Final[Sequence[tuple[float | None, str]]] = ((None, "text"),)
BAD_ABOVE_ZERO: Final[Sequence[tuple[float | None, str]]] = ((None, "green"), (1, "red"))
WAITS_ABOVE_ZERO: Final[Sequence[tuple[float | None, str]]] = ((None, "green"), (1, "orange"))


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel. `asks`: a legend and an expression each; `unit` as Grafana names it."""

    title: str
    about: str
    asks: Sequence[tuple[str, str]]
    draw: Draw = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 7
    thresholds: Sequence[tuple[float | None, str]] = NO_THRESHOLDS
    mappings: Sequence[Json] = ()
    least: float | None = None
    most: float | None = None
    stacked: bool = False

    @property
    def instant(self) -> bool:
        """Whether it shows how things are, not how they went."""
        return self.draw in {"stat", "table", "bargauge"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A question, and the panels that answer it."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A page of rows; `variables` as Grafana writes them, behind the source's own."""

    uid: str
    title: str
    about: str
    rows: Sequence[Row]
    variables: Sequence[Json] = ()

    def as_json(self) -> Json:
        """As Grafana imports it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["cordboard"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "timezone": "browser",
            "timepicker": {},
            "annotations": {"list": []},
            "links": _links(self.uid),
            "templating": {"list": [*_variables(), *self.variables]},
            "panels": _placed(self.rows),
        }


def asked_variable(name: str, label: str, query: str, *, several: bool = False) -> Json:
    """A choice of what figures there are."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": several,
        "includeAll": several,
        **({"allValue": ".*"} if several else {}),
        "current": {"text": "All", "value": "$__all"} if several else {},
    }


ZONES: Final = ("Asia/Shanghai", "Asia/Singapore", "Europe/Berlin", "America/New_York")


def _variables() -> list[Json]:
    options = [{"text": zone, "value": zone, "selected": zone == ZONES[0]} for zone in ZONES]
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}},
        {
            "name": "zone",
            "label": "Account's zone",
            "type": "custom",
            "query": ",".join(ZONES),
            "options": options,
            "current": options[0],
        },
    ]


def _links(uid: str) -> list[Json]:
    zones = [("Times in UTC", "utc"), ("Times in the account's zone", "${zone}"), ("Times as here", "browser")]
    common = {"type": "link", "icon": "external link", "includeVars": True, "keepTime": True, "targetBlank": False}
    pages: Json = {
        "type": "dashboards",
        "title": "Cordboard",
        "tags": ["cordboard"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
    }
    return [pages, *({**common, "title": title, "url": f"/d/{uid}?timezone={zone}"} for title, zone in zones)]


def _placed(rows: Sequence[Row]) -> list[Json]:
    """Rows below each other, panels of a row beside each other until its width is used up."""
    placed: list[Json] = []
    y = 0
    for row in rows:
        placed.append(
            {
                "id": len(placed) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            }
        )
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            position = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            placed.append({"id": len(placed) + 1, "gridPos": position, **_drawn(panel)})
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return placed


def _drawn(panel: Panel) -> Json:
    steps = [{"value": value, "color": color} for value, color in panel.thresholds]
    limits = {name: value for name, value in (("min", panel.least), ("max", panel.most)) if value is not None}
    return {
        "type": panel.draw,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "targets": [_target(panel, number, *ask) for number, ask in enumerate(panel.asks)],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "mappings": list(panel.mappings),
                "thresholds": {"mode": "absolute", "steps": steps},
                "color": {"mode": "palette-classic" if panel.draw == "timeseries" else "thresholds"},
                "custom": _custom(panel),
                **limits,
            },
            "overrides": [],
        },
        "options": _options(panel),
        **({"transformations": TABLE} if panel.draw == "table" else {}),
    }


TABLE: Final[Sequence[Json]] = (
    {"id": "merge", "options": {}},
    {"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}},
)


def _target(panel: Panel, number: int, legend: str, expr: str) -> Json:
    return {
        "refId": chr(ord("A") + number),
        "datasource": SOURCE,
        "expr": expr,
        "legendFormat": legend,
        "instant": panel.instant,
        "range": not panel.instant,
        "format": "table" if panel.draw == "table" else "time_series",
    }


def _custom(panel: Panel) -> Json:
    match panel.draw:
        case "timeseries":
            stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
            return {"drawStyle": "line", "fillOpacity": 20 if panel.stacked else 5, "stacking": stacking}
        case "state-timeline":
            return {"fillOpacity": 80, "lineWidth": 0}
        case _:
            return {}


OPTIONS: Final[Mapping[Draw, Json]] = {
    "stat": {"textMode": "value_and_name", "colorMode": "background", "graphMode": "none"},
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "state-timeline": {"showValue": "never", "mergeValues": True, "rowHeight": 0.8},
    "table": {"showHeader": True, "cellHeight": "sm"},
    "bargauge": {"orientation": "horizontal", "displayMode": "basic"},
}


def _options(panel: Panel) -> Json:
    last = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    return {**OPTIONS[panel.draw], **(last if panel.draw in {"stat", "bargauge"} else {})}
