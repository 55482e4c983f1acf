"""The dashboards: what stands is what is made, asks for what there is, and needs nothing that Grafana lacks."""

from typing import Any

import pytest

from tests.chart.dashboards import DASHBOARDS, drifted, expressions
from tests.chart.expressions import faults, rules
from tests.chart.panels import SOURCE, WIDTH, Dashboard

RECORDED = [rule.name for rule in rules() if not rule.alert]
EVERY = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=list(DASHBOARDS))
CORE = {"row", "stat", "timeseries", "state-timeline", "table", "bargauge"}


def test_dashboards_of_the_chart_are_what_is_made_here() -> None:
    assert drifted() == []


@EVERY
def test_every_figure_and_label_that_a_panel_names_is_in_the_catalogue(dashboard: Dashboard) -> None:
    asked = expressions(dashboard)
    assert asked
    assert [fault for expr in asked for fault in faults(plain(expr), RECORDED)] == []


@EVERY
def test_source_is_chosen_by_a_variable_and_no_panel_is_a_plugin(dashboard: Dashboard) -> None:
    page = dashboard.as_json()
    assert page["templating"]["list"][0]["type"] == "datasource"
    assert {panel["type"] for panel in page["panels"]} <= CORE
    sources = [place["datasource"] for panel in page["panels"] for place in (panel, *panel.get("targets", ())) if
               panel["type"] != "row"]  # fmt: skip
    assert all(source == SOURCE for source in sources)


@EVERY
def test_every_panel_has_its_own_place_and_says_what_it_shows(dashboard: Dashboard) -> None:
    panels = dashboard.as_json()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    covered = [cell for panel in panels for cell in _cells(panel["gridPos"])]
    assert len(covered) == len(set(covered))
    assert all(x < WIDTH for x, _ in covered)
    assert all(panel["description"] for panel in panels if panel["type"] != "row")


@EVERY
def test_times_can_be_read_in_the_readers_zone_in_the_accounts_and_in_utc(dashboard: Dashboard) -> None:
    page = dashboard.as_json()
    asked = {link["url"].partition("timezone=")[2] for link in page["links"] if link["type"] == "link"}
    assert page["timezone"] == "browser"
    assert asked == {"utc", "browser", "${zone}"}


def plain(expr: str) -> str:
    """An expression as Grafana sends it, its variables filled in."""
    known = {"$__rate_interval": "1m", "$__range": "6h", "$account": ".*", "$operation": ".*"}
    for name, value in known.items():
        expr = expr.replace(name, value)
    return expr


def _cells(place: dict[str, Any]) -> list[tuple[int, int]]:
    return [
        (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    ]
