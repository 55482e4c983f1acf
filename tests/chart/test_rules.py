"""The rules of Prometheus: they read, they call when they should and not else, and they lead into the runbook."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.expressions import ROOT, RULES, Rule, faults, rules

UNITS = Path(__file__).parent / "alerts"
ALERTS = [rule for rule in rules() if rule.alert]
RECORDED = [rule.name for rule in rules() if not rule.alert]


def test_prometheus_reads_the_rules(promtool: str) -> None:
    _run(promtool, "check", "rules", str(RULES))


@pytest.mark.parametrize("unit", sorted(UNITS.glob("*.yaml")), ids=lambda unit: unit.stem)
def test_alert_fires_when_it_should_and_is_silent_else(promtool: str, unit: Path) -> None:
    _run(promtool, "test", "rules", str(unit))


def test_every_alert_is_shown_to_be_silent_to_fire_and_to_resolve() -> None:
    shown = {unit.stem: _course(unit) for unit in UNITS.glob("*.yaml")}
    assert shown.keys() == {alert.name for alert in ALERTS}
    assert [name for name, course in shown.items() if "010" not in course] == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_every_figure_and_label_that_a_rule_names_is_in_the_catalogue(rule: Rule) -> None:
    assert faults(rule.expr, RECORDED) == []


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("rate(cordboard_hire_total[5m])", "no such figure: cordboard_hire_total"),
        ("sum(cordboard_hired_to_ready_seconds)", "no such figure: cordboard_hired_to_ready_seconds"),
        ('cordboard_commands{topic="x"}', "cordboard_commands has no label topic"),
        ('cordboard_hires_total{le="1"}', "cordboard_hires_total has no label le"),
        ("sum by (pod) (cordboard_commands)", "no figure has the label pod"),
        ("cordboard_commands * on (zone) cordboard_held_commands", "no figure has the label zone"),
    ],
)
def test_name_that_is_not_in_the_catalogue_is_found(expr: str, fault: str) -> None:
    assert faults(expr, RECORDED) == [fault]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: rule.name)
def test_alert_says_what_is_wrong_how_urgent_it_is_and_where_to_read_on(alert: Rule) -> None:
    assert alert.labels["severity"] in {"page", "ticket"}
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    page, _, heading = alert.annotations["runbook_url"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert heading in {_anchor(text) for text in headings}


def _anchor(heading: str) -> str:
    """As code hosts make it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _course(unit: Path) -> str:
    """What a unit's first story expects, moment by moment; repetitions are one."""
    queries = yaml.safe_load(unit.read_text())["tests"][0]["promql_expr_test"]
    expected = "".join(str(query["exp_samples"][0]["value"]) for query in queries)
    return re.sub(r"(.)\1+", r"\1", expected)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - found on the path
    assert done.returncode == 0, done.stdout + done.stderr
