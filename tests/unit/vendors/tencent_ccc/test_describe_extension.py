from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from service.adapters.credentials_none import NoCredentials
from service.domain.outcome import Call, ErrorClass, Failure, Result, Succeeded
from service.domain.value import replace
from service.vendors.tencent_ccc.describe_extension import NAME, DescribeExtension, DescribeExtensionReply
from tests.unit.vendors.doubles import KeptCredentials, tencent_account

WANTED = {"extension": "1001"}
CALL = Call(operation=NAME, account="acme_cn", body={"SdkAppId": 1400000000, "ExtensionId": "1001"})
REPLY = {
    "ExtensionId": "1001",
    "ExtensionDomain": "1400000000.tccc.qcloud.com",
    "Password": "FAKEsipPassword",
    "OutboundProxy": "sip.tccc.qcloud.com:5061",
    "Transport": "tls",
}


def answer(**changes: Any) -> dict[str, Any]:
    return DescribeExtensionReply.model_validate({**REPLY, **changes}).fields()


def test_registration_is_always_asked() -> None:
    assert DescribeExtension(tencent_account(), KeptCredentials()).decide(WANTED, None, ours=True) == CALL


async def test_password_goes_to_the_credentials_port_and_nowhere_else() -> None:
    credentials = KeptCredentials()
    call = replace(CALL, subject="agent:workday/E1")
    outcome = await DescribeExtension(tencent_account(), credentials).judge(WANTED, answer(), call)
    assert credentials.given == [("agent:workday/E1", "acme_cn", "1001", "FAKEsipPassword")]
    assert outcome == Succeeded(
        result=Result.DONE,
        facts={
            "extension": "1001",
            "full_extension": "1001@1400000000.tccc.qcloud.com",
            "domain": "1400000000.tccc.qcloud.com",
            "outbound_proxy": "sip.tccc.qcloud.com:5061",
            "transport": "tls",
            "credential": "delivered",
        },
        sealed=credentials.sealed,
    )
    assert "FAKEsipPassword" not in repr(outcome)


async def test_dropped_password_is_no_credential() -> None:
    outcome = await DescribeExtension(tencent_account(), NoCredentials()).judge(WANTED, answer(), CALL)
    assert isinstance(outcome, Succeeded)
    assert (outcome.facts["credential"], outcome.sealed) == ("none", None)
    assert "FAKEsipPassword" not in repr(outcome)


def test_answer_on_its_way_shows_no_password() -> None:
    assert isinstance(answer()["Password"], SecretStr)
    assert "FAKEsipPassword" not in repr(answer())


async def test_no_password_is_no_credential() -> None:
    credentials = KeptCredentials()
    outcome = await DescribeExtension(tencent_account(), credentials).judge(WANTED, answer(Password=None), CALL)
    assert credentials.given == []
    assert isinstance(outcome, Succeeded)
    assert (outcome.facts["credential"], outcome.sealed) == ("none", None)


async def test_answer_for_another_extension_is_not_used() -> None:
    credentials = KeptCredentials()
    outcome = await DescribeExtension(tencent_account(), credentials).judge(WANTED, answer(ExtensionId="1002"), CALL)
    assert isinstance(outcome, Failure)
    assert outcome.error_class is ErrorClass.AMBIGUOUS
    assert credentials.given == []


async def test_what_the_vendor_leaves_empty_is_not_known() -> None:
    empty = answer(ExtensionDomain="", OutboundProxy="", Transport="")
    outcome = await DescribeExtension(tencent_account(), NoCredentials()).judge(WANTED, empty, CALL)
    assert isinstance(outcome, Succeeded)
    assert outcome.facts == {"extension": "1001", "credential": "none"}


@pytest.mark.parametrize("changes", [{"Transport": "a\x00b"}, {"OutboundProxy": "p" * 257}, {"Password": "p" * 1025}])
def test_what_could_not_be_passed_on_is_no_answer(changes: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        answer(**changes)
