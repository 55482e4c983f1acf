"""A configuration file is read strictly and tells no secret."""

from typing import Any

import pytest

from service.sandbox.configuration import ConfigurationError, configuration_from_json
from service.sandbox.faults import FaultKind

ACCOUNT = {"secret_id": "AKIDFAKE", "secret_key": "FAKE-secret", "sdk_app_ids": [1400000000], "site": "intl"}
TENANT = {"app_key": "FAKE-app", "app_secret": "FAKE-app-secret", "access_codes": {"9911": 5}}


def test_whole_document_is_read() -> None:
    made = configuration_from_json(
        {
            "tencent": [ACCOUNT],
            "huawei": [TENANT],
            "quotas": {"tencent_ccc": {"default": 200}},
            "approval_seconds": None,
            "duplicates": {"CreateExtension": "dberror"},
            "faults": [{"kind": "latency", "seconds": [0.1, 0.2]}],
        }
    )
    assert made.tencent[0].sdk_app_ids == (1400000000,)
    assert made.huawei[0].access_codes == {"9911": 5}
    assert made.faults[0].kind is FaultKind.LATENCY
    assert made.approval_seconds is None


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "must be an object"),
        ({"tencnt": []}, "unknown tencnt"),
        ({"tencent": [{**ACCOUNT, "sit": "cn"}]}, r"tencent\[0\]: unknown sit"),
        ({"tencent": [{"secret_id": "AKIDFAKE"}]}, "secret_key"),
        ({"tencent": [{**ACCOUNT, "site": "mars"}]}, "site"),
        ({"quotas": {"other": {}}}, "unknown vendor other"),
        ({"quotas": {"huawei_aicc": {"default": 0}}}, "whole number from 1"),
        ({"duplicates": {"CreateExtension": "perhaps"}}, "duplicates"),
        ({"faults": [{"kind": "fire"}]}, r"faults\[0\]"),
    ],
)
def test_fault_is_named_with_its_place(document: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        configuration_from_json(document)


def test_secrets_are_not_shown() -> None:
    made = configuration_from_json({"tencent": [{**ACCOUNT, "token": "FAKE-sts"}], "huawei": [TENANT]})
    assert not any(secret in repr(made) for secret in ("FAKE-secret", "FAKE-sts", "FAKE-app-secret"))
