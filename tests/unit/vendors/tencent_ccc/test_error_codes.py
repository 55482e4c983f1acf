import pytest

from service.domain.outcome import ErrorClass
from service.vendors.tencent_ccc.error_codes import RULES, failure_for, rule_for

CLASSES = {
    ErrorClass.RETRYABLE: ["AuthFailure.SignatureExpire", "AuthFailure.TokenFailure"],
    ErrorClass.CREDENTIALS: [
        "AuthFailure.SignatureFailure",
        "AuthFailure.SecretIdNotFound",
        "AuthFailure.InvalidSecretId",
        "AuthFailure.InvalidAuthorization",
        "AuthFailure.MFAFailure",
        "AuthFailure.UnauthorizedOperation",
        "UnauthorizedOperation",
        "UnauthorizedOperation.CamNoAuth",
        "IpInBlacklist",
        "IpNotInWhitelist",
        "OperationDenied.UinDisabled",
        "FailedOperation.PermissionDenied",
    ],
    ErrorClass.THROTTLED: [
        "RequestLimitExceeded",
        "RequestLimitExceeded.UinLimitExceeded",
        "RequestLimitExceeded.IPLimitExceeded",
        "RequestLimitExceeded.GlobalRegionUinLimitExceeded",
        "RequestLimitExceeded.SomethingNew",
    ],
    ErrorClass.CAPACITY: [
        "OperationDenied.NotInWhiteList",
        "InvalidParameterValue.WaitingApprovalOverflow",
        "LimitExceeded",
        "LimitExceeded.BasePackageExpired",
        "LimitExceeded.InsufficientLicense",
        "LimitExceeded.OutOfCountLimit",
        "LimitExceeded.OutOfQuotaMaxCount",
        "ResourceInUse",
        "ResourceInsufficient",
    ],
    ErrorClass.PERMANENT: [
        "InvalidParameter",
        "InvalidParameterValue",
        "MissingParameter",
        "UnknownParameter",
        "InvalidRequest",
        "InvalidAction",
        "NoSuchProduct",
        "NoSuchVersion",
        "UnsupportedRegion",
        "UnsupportedProtocol",
        "UnsupportedOperation",
        "ActionOffline",
        "RequestSizeLimitExceeded",
        "DryRunOperation",
        "InvalidParameter.InstanceNotExist",
        "InvalidParameterValue.InstanceNotExist",
        "InvalidParameterValue.PhoneNumInvalid",
        "InvalidParameterValue.ApplyIDNotExist",
        "InvalidParameterValue.ErrorApplyStatus",
        "InvalidParameterValue.AccountNotExist",
        "InvalidParameterValue.SkillGroupError",
        "InvalidParameterValue.SkillGroupExist",
        "InvalidParameterValue.PhoneNumIsBoundOtherAccount",
        "InvalidParameterValue.RingAllGroupMemberOverflow",
        "FailedOperation.DuplicatedAccount",
        "FailedOperation.CurStateNotAllowModify",
        "InvalidParameter.DuplicateAddress",
        "InvalidParameter.DuplicatePhoneNumber",
        "InvalidParameter.DuplicateSipAccount",
        "InvalidParameter.SipTrunkNotFound",
        "InvalidParameter.SipTrunkInUsed",
        "InvalidParameter.IllegalAddress",
        "InvalidParameter.InvalidIP",
        "InvalidParameter.InvalidPort",
        "InvalidParameter.InvalidAddress",
        "InvalidParameter.InvalidPhoneNumber",
        "InvalidParameter.SipAccountPasswordFormat",
        "ResourceNotFound",
        "ResourceNotFound.Deeper.Still",
    ],
    ErrorClass.AMBIGUOUS: [
        "FailedOperation",
        "FailedOperation.SomethingNew",
        "InternalError",
        "InternalError.DBError",
        "ServiceUnavailable",
        "ResourceUnavailable",
        "ResponseSizeLimitExceeded",
        "OperationDenied",
        "AuthFailure",
        "NeverHeardOf",
        "NeverHeardOf.InvalidParameter",
        "InvalidParameterX",
        "",
    ],
}


@pytest.mark.parametrize(
    ("code", "expected"), [(code, error_class) for error_class, codes in CLASSES.items() for code in codes]
)
def test_code_has_its_class(code: str, expected: ErrorClass) -> None:
    assert rule_for(code).error_class is expected


def test_every_rule_is_in_the_table_above() -> None:
    assert set(RULES) <= {code for codes in CLASSES.values() for code in codes}


@pytest.mark.parametrize("code", ["AuthFailure.SignatureExpire", "AuthFailure.TokenFailure"])
def test_clock_and_token_get_one_more_try_and_then_are_a_matter_of_credentials(code: str) -> None:
    failure = failure_for(code, "req-1")
    assert (failure.retries, failure.afterwards) == (1, ErrorClass.CREDENTIALS)


def test_failure_keeps_code_and_request_id_verbatim() -> None:
    failure = failure_for("LimitExceeded.SomethingNew", "req-9")
    assert (failure.code, failure.request_id) == ("LimitExceeded.SomethingNew", "req-9")
