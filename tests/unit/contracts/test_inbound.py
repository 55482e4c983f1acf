import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from contracts.inbound import INBOUND, AgentChanged, AgentHired, NumberPurchased, NumberRouted

HIRED = {"agent_id": "E1001", "name": "Li Na"}


def hired(**more: Any) -> AgentHired:
    return AgentHired.model_validate(HIRED | more)


def test_absent_and_null_are_told_apart() -> None:
    assert "email" not in hired().model_fields_set
    assert "email" in hired(email=None).model_fields_set
    assert hired().email is None is hired(email=None).email


def test_unknown_fields_are_dropped_at_every_depth() -> None:
    purchased = NumberPurchased.model_validate(
        {"access_code": "4001", "owner": "x", "route": {"ivr": 7, "because": "x"}}
    )
    assert purchased.known_fields() == {"access_code": "4001", "route": {"ivr": 7}}


@pytest.mark.parametrize(
    "data",
    [
        HIRED,
        HIRED | {"email": None, "skill_group_ids": [1, 2], "effective_at": "2026-03-01", "revision": -3},
        HIRED | {"attributes": {"a": 1, "b": 1.5, "c": True, "d": None, "e": ""}, "skill_group_ids": []},
        HIRED | {"effective_at": "2026-03-01T10:00:00+08:00"},
    ],
)
def test_known_fields_give_the_same_model_again(data: dict[str, Any]) -> None:
    first = AgentHired.model_validate(data)
    again = AgentHired.model_validate(json.loads(json.dumps(first.known_fields())))
    assert again == first
    assert again.model_fields_set == first.model_fields_set


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01", date(2026, 3, 1)),
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01t10:00:00.5z", datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T10:00:00.123456789Z", datetime(2026, 3, 1, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-03-01T10:00:00-05:30", datetime(2026, 3, 1, 10, tzinfo=timezone(-timedelta(hours=5, minutes=30)))),
    ],
)
def test_effective_at_is_a_moment_or_a_date(text: str, moment: date) -> None:
    read = hired(effective_at=text).effective_at
    assert read == moment
    assert isinstance(read, datetime) == isinstance(moment, datetime)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "tomorrow",
        "2026-3-1",
        "20260301",
        "2026-W09-1",
        "2026-02-30",
        "2026-02-30T00:00:00Z",
        "2026-03-01T10:00:00",
        "2026-03-01 10:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T23:59:60Z",
        "2026-03-01T10:00:00+24:00",
        "0001-01-01",
        "9999-12-31",
        "2026-03-01\n",
        "\uff12\uff10\uff12\uff16-03-01",
        1772323200,
        True,
        datetime(2026, 3, 1),  # noqa: DTZ001  # the missing zone is the point
    ],
)
def test_effective_at_refuses_what_is_neither(value: object) -> None:
    with pytest.raises(ValidationError):
        hired(effective_at=value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"agent_id": 1001},
        {"agent_id": ""},
        {"agent_id": " "},
        {"agent_id": "E\n1"},
        {"agent_id": None},
        {"name": "\ud800"},
        {"extension": 1001},
        {"extension": "10 01"},
        {"skill_group_ids": ["1"]},
        {"skill_group_ids": [True]},
        {"skill_group_ids": [-1]},
        {"skill_group_ids": [1.0]},
        {"skill_group_ids": "12"},
        {"revision": "7"},
        {"revision": True},
        {"revision": 1.5},
        {"revision": 2**63},
        {"attributes": {"a": float("nan")}},
        {"attributes": {"a": float("inf")}},
        {"attributes": {"a": 2**53}},
        {"attributes": {"a": 2**63}},
        {"attributes": {"a": []}},
        {"attributes": {"": 1}},
        {"attributes": {str(n): n for n in range(101)}},
    ],
)
def test_nothing_is_coerced_and_limits_hold(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        hired(**wrong)


def test_error_text_repeats_no_input() -> None:
    with pytest.raises(ValidationError) as caught:
        hired(email="someone without at", name=17)
    assert "someone" not in str(caught.value)
    assert "17" not in str(caught.value)


@pytest.mark.parametrize("route", [{}, {"ivr": None}, {"ivr": 1, "skill_queue": 2}, {"ivr": "1"}, []])
def test_route_goes_to_exactly_one_target(route: object) -> None:
    with pytest.raises(ValidationError):
        NumberPurchased.model_validate({"access_code": "4001", "route": route})


@pytest.mark.parametrize("model", [NumberPurchased, NumberRouted])
@pytest.mark.parametrize("data", [{}, {"number": None}, {"access_code": None, "number": None}])
def test_a_purchase_and_a_routing_name_a_number_or_an_access_code(model: type[BaseModel], data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(data)


def test_a_routing_may_leave_its_target_to_the_settings() -> None:
    assert NumberRouted.model_validate({"number": "1"}).known_fields() == {"number": "1"}


def test_a_change_needs_nothing_but_its_agent() -> None:
    assert AgentChanged.model_validate({"agent_id": "E1"}).known_fields() == {"agent_id": "E1"}
    assert AgentChanged.model_validate({"agent_id": "E1", "name": None}).known_fields() == {
        "agent_id": "E1",
        "name": None,
    }
    with pytest.raises(ValidationError):
        AgentChanged.model_validate({"name": "Li Na"})


def test_a_change_may_carry_whatever_a_hire_may() -> None:
    assert AgentChanged.model_fields.keys() == AgentHired.model_fields.keys()


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError):
        setattr(hired(), "name", "x")  # noqa: B010  # an assignment would not pass the type checker


def test_every_type_names_its_version() -> None:
    assert all(name.endswith(".v1") for name in INBOUND)
