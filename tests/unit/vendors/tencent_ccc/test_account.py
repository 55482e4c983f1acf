from typing import Any

import pytest
from pydantic import ValidationError

from service.vendors.tencent_ccc.account import TencentCccAccount
from tests.unit.vendors.doubles import FAKE_SECRET_ID, FAKE_SECRET_KEY, huawei_account, tencent_account

FAKE_TOKEN = "FAKE-sts-token"


@pytest.mark.parametrize(
    ("site", "url"), [("cn", "https://ccc.tencentcloudapi.com"), ("intl", "https://ccc.intl.tencentcloudapi.com")]
)
def test_base_url_follows_the_site(site: str, url: str) -> None:
    assert tencent_account(site=site).base_url == url


def test_repr_and_dump_show_no_secret() -> None:
    account = tencent_account(token=FAKE_TOKEN)
    shown = repr(account) + str(account) + repr(account.model_dump()) + account.model_dump_json()
    assert not [secret for secret in (FAKE_SECRET_ID, FAKE_SECRET_KEY, FAKE_TOKEN) if secret in shown]


def test_what_the_vendor_counts_together_is_site_and_key() -> None:
    here = tencent_account()
    assert here.group() == tencent_account(name="other", sdk_app_id=1400000001).group()
    assert here.group() != tencent_account(site="intl").group()
    assert here.group() != tencent_account(secret_id="AKIDFAKEOTHER").group()
    assert FAKE_SECRET_ID not in repr(here.quota_identity())


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"secret_key": ""}, "secret_key"),
        ({"secret_key_file": "/nowhere/FAKE-path"}, "secret_key_file"),
        ({"secret_id": ""}, "secret_id"),
        ({"sdk_app_id": "FAKEvalue"}, "sdk_app_id"),
        ({"site": "FAKEvalue"}, "site"),
        ({"base_url": "http://ccc.example.com"}, "base_url"),
        ({"base_url": "https://user:FAKEvalue@ccc.example.com"}, "base_url"),
        ({"base_url": "https://ccc.example.com/FAKEvalue"}, "base_url"),
        ({"base_url": "FAKEvalue"}, "base_url"),
        ({"secret_kye": "FAKEvalue"}, "secret_kye"),
        ({"base_url": "https://ccc.intl.tencentcloudapi.com"}, "other site"),
        ({"site": "intl", "base_url": "https://ccc.ap-guangzhou.tencentcloudapi.com"}, "other site"),
        ({"site": "intl", "own_number_form": {"international_number_prefix": "00"}}, "China site only"),
    ],
)
def test_fault_is_named_without_its_value(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        tencent_account(**changes)
    said = str(caught.value)
    assert place in said
    assert not [value for value in ("FAKEvalue", "FAKE-path", FAKE_SECRET_KEY, FAKE_SECRET_ID) if value in said]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8081", "http://localhost:8081", "http://[::1]:8081"])
def test_plain_http_is_for_loopback(url: str) -> None:
    assert tencent_account(base_url=f"{url}/").base_url == url


def test_account_of_another_vendor_is_a_bug() -> None:
    with pytest.raises(TypeError, match="acme_hw"):
        TencentCccAccount.of(huawei_account())
