"""Rules that are made quick for a test stay the same rules."""

import yaml

from tests.chart.expressions import RULES
from tests.prometheus.hurry import hurried

GIVEN = {
    "groups": [
        {
            "name": "g",
            "rules": [
                {"record": "r", "expr": "rate(cordboard_hires_total[5m]) / rate(cordboard_hires_total[3d])"},
                {"alert": "A", "for": "10m", "expr": 'max(cordboard_oldest_command_seconds{state="in_doubt"}) > 900'},
                {"alert": "B", "for": "2m", "expr": "cordboard:loop_lag:seconds_p99_5m > 0.25"},
            ],
        }
    ]
}


def test_windows_waits_and_ages_shrink_within_bounds_and_nothing_else_does() -> None:
    recorded, aged, late = hurried(GIVEN, factor=100, windows=(2.0, 4.0), wait=1.5)["groups"][0]["rules"]
    assert recorded["expr"] == "rate(cordboard_hires_total[3000ms]) / rate(cordboard_hires_total[4000ms])"
    assert (aged["for"], aged["expr"]) == ("6000ms", 'max(cordboard_oldest_command_seconds{state="in_doubt"}) > 9')
    assert (late["for"], late["expr"]) == ("1500ms", "cordboard:loop_lag:seconds_p99_5m > 0.25")


def test_every_rule_of_the_chart_is_kept() -> None:
    document = yaml.safe_load(RULES.read_text())
    made = hurried(document, factor=200, windows=(2.0, 4.0), wait=1.0)
    before, after = ([r for group in d["groups"] for r in group["rules"]] for d in (document, made))
    assert [r.get("alert") or r["record"] for r in after] == [r.get("alert") or r["record"] for r in before]
    ages = [
        (b["expr"], a["expr"])
        for b, a in zip(before, after, strict=True)
        if "_seconds" in b["expr"] and "> " in b["expr"]
    ]
    assert sum(b != a for b, a in ages) >= 3
