"""Which requests a fault switch strikes, and how often."""

from typing import Any

import pytest

from service.sandbox.faults import FaultBoard, FaultKind, rules_from_json


def board(*rules: dict[str, Any], seed: int = 1) -> FaultBoard:
    return FaultBoard(rules_from_json(list(rules)), seed=seed)


def kinds(faults: FaultBoard, action: str = "CreateExtension", key: str | None = "extension:1/1001") -> tuple[str, ...]:
    return faults.draw("tencent_ccc", action, key).kinds


def test_count_is_used_up() -> None:
    faults = board({"kind": "dberror_after", "action": "CreateExtension", "count": 2})
    assert [bool(kinds(faults)) for _ in range(4)] == [True, True, False, False]
    assert faults.as_list() == [
        {"kind": "dberror_after", "action": "CreateExtension", "count": 2, "seen": 4, "hits": 2}
    ]


def test_skip_lets_the_first_ones_pass() -> None:
    faults = board({"kind": "throttle", "skip": 2, "count": 1})
    assert [bool(kinds(faults)) for _ in range(4)] == [False, False, True, False]


def test_probability_is_seeded() -> None:
    def run(seed: int) -> list[bool]:
        faults = board({"kind": "reply_lost_after", "probability": 0.3}, seed=seed)
        return [bool(kinds(faults)) for _ in range(1000)]

    assert run(7) == run(7) != run(8)
    assert 240 < sum(run(7)) < 360


def test_rule_strikes_only_its_action_vendor_and_key() -> None:
    faults = board({"kind": "throttle", "action": "Create*", "vendor": "tencent_ccc", "match": "extension:1/10*"})
    assert kinds(faults)
    assert not kinds(faults, action="ModifyExtension")
    assert not kinds(faults, key="extension:1/2001")
    assert not kinds(faults, key=None)
    assert not faults.draw("huawei_aicc", "CreateX", "extension:1/1001").kinds


def test_first_deciding_fault_wins_and_delays_add_up() -> None:
    faults = board(
        {"kind": "latency", "seconds": 1.0},
        {"kind": "latency", "seconds": [2.0, 2.0]},
        {"kind": "reply_lost_after"},
        {"kind": "http_502_before"},
        {"kind": "late_reply", "seconds": 0.5},
    )
    draw = faults.draw("tencent_ccc", "CreateExtension", None)
    assert (draw.latency, draw.late_reply) == (3.0, 0.5)
    assert draw.after is not None
    assert draw.after.kind is FaultKind.REPLY_LOST_AFTER
    assert draw.before is None
    assert draw.label == "latency+latency+reply_lost_after+late_reply"


def test_shaping_faults_carry_their_values() -> None:
    faults = board(
        {"kind": "read_lag", "seconds": 2.0},
        {"kind": "page_cap", "size": 3},
        {"kind": "duplicate_create", "mode": "dberror"},
    )
    draw = faults.draw("tencent_ccc", "DescribeExtensions", None)
    assert (draw.read_lag, draw.page_cap, draw.duplicate_mode, draw.outcome) == (2.0, 3, "dberror", None)


def test_clock_offset_is_drawn_apart() -> None:
    faults = board({"kind": "clock_offset", "seconds": -400.0, "count": 1})
    assert not kinds(faults)
    assert faults.clock_offset("tencent_ccc", "CreateExtension") == -400.0
    assert faults.clock_offset("tencent_ccc", "CreateExtension") == 0


def test_rules_are_replaced_added_and_cleared_while_running() -> None:
    faults = board({"kind": "throttle"})
    faults.replace(rules_from_json([{"kind": "dberror_before"}]))
    faults.add(*rules_from_json([{"kind": "late_reply", "seconds": 1}]))
    assert kinds(faults) == ("dberror_before", "late_reply")
    faults.clear()
    assert kinds(faults) == ()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({}, "must be an object with a kind"),
        ({"kind": "fire"}, "fire"),
        ({"kind": "throttle", "often": 1}, "unknown often"),
        ({"kind": "throttle", "probability": 2}, "probability"),
        ({"kind": "error_before"}, "needs a code"),
        ({"kind": "latency"}, "needs seconds"),
        ({"kind": "duplicate_create", "mode": "maybe"}, "mode"),
        ({"kind": "page_cap", "size": 0}, "size"),
    ],
)
def test_broken_rule_is_named(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=rf"faults\[0\].*{said}"):
        rules_from_json([rule])


def test_rules_must_be_a_list() -> None:
    with pytest.raises(ValueError, match="must be a list"):
        rules_from_json({})
