from typing import Any

import pytest
from pydantic import ValidationError

from service.vendors.huawei_aicc.account import HuaweiAiccAccount
from tests.unit.vendors.doubles import FAKE_APP_KEY, FAKE_APP_SECRET, huawei_account, tencent_account


def test_repr_and_dump_show_no_secret() -> None:
    account = huawei_account()
    shown = repr(account) + str(account) + repr(account.model_dump()) + account.model_dump_json()
    assert not [secret for secret in (FAKE_APP_KEY, FAKE_APP_SECRET) if secret in shown]


def test_default_quota_is_five_for_every_operation() -> None:
    assert huawei_account().rate("huawei_aicc.createCalledRoute") == 5.0


def test_what_the_vendor_counts_together_is_domain_and_key() -> None:
    here = huawei_account()
    assert here.group() == huawei_account(name="other").group()
    assert here.group() != huawei_account(base_url="https://other.example.com").group()
    assert here.group() != huawei_account(app_key="FAKE-other").group()
    assert FAKE_APP_KEY not in repr(here.quota_identity())


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"app_secret": ""}, "app_secret"),
        ({"app_key": ""}, "app_key"),
        ({"base_url": "http://aicc.example.com"}, "base_url"),
        ({"token_base_url": "ftp://FAKEvalue"}, "token_base_url"),
        ({"token_seconds": 3601}, "token_seconds"),
        ({"app_secert": "FAKEvalue"}, "app_secert"),
    ],
)
def test_fault_is_named_without_its_value(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        huawei_account(**changes)
    said = str(caught.value)
    assert place in said
    assert not [value for value in ("FAKEvalue", FAKE_APP_KEY, FAKE_APP_SECRET) if value in said]


def test_account_of_another_vendor_is_a_bug() -> None:
    with pytest.raises(TypeError, match="acme_cn"):
        HuaweiAiccAccount.of(tencent_account())
