from typing import Any

import pytest
from pydantic import ValidationError

from service.domain.account import Account
from tests.builders import make_account


class _Group(Account):
    def quota_identity(self) -> tuple[str, ...]:
        return ("site", "id")


def test_accounts_the_vendor_counts_together_are_one_group() -> None:
    one, other = _Group(name="a", vendor="v"), _Group(name="b", vendor="v")
    assert one.group() == other.group()
    assert one.group().startswith("v-")
    assert "site" not in one.group()


def test_accounts_are_groups_of_their_own_unless_told_otherwise() -> None:
    assert make_account(name="a").group() != make_account(name="b").group()
    assert make_account(name="a", quota_group="shared").group() == make_account(name="b", quota_group="shared").group()


@pytest.mark.parametrize(
    ("quotas", "operation", "rate"),
    [
        ({}, "tencent_ccc.CreateExtension", 20.0),
        ({"default": 7}, "tencent_ccc.CreateExtension", 7.0),
        ({"default": 7, "CreateExtension": 3}, "tencent_ccc.CreateExtension", 3.0),
        ({"CreateExtension": 3}, "CreateExtension", 3.0),
        ({"CreateExtension": 3}, "tencent_ccc.DescribeExtension", 20.0),
    ],
)
def test_rate_is_the_operations_else_the_accounts_else_the_vendors(
    quotas: dict[str, float], operation: str, rate: float
) -> None:
    assert make_account(quotas=quotas).rate(operation) == rate


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quotas", {"default": 0}),
        ("quotas", {"CreateExtension": -1}),
        ("country", "cn"),
        ("country", "UK"),
        ("time_zone", "Mars/Olympus"),
        ("time_zone", ""),
        ("time_zone", "../etc/passwd"),
        ("time_zone", "Asia"),
        ("quota_group", "Not A Group"),
        ("surprise", 1),
    ],
)
def test_setting_that_planning_would_stumble_over_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        make_account(**{field: value})
    assert refused.value.errors()[0]["loc"][0] == field
