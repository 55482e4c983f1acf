"""What TCCC's error codes mean for a write: one table, matched by the longest dotted prefix.

The codes are the vendor's (tencentcloud.com/document/product/1229, the common table of
tencentcloud.com/document/product/1159/50368 and the official SDK's code list, read 2026-08). The vendor gives no
classes: they are our reasoning about whether the request can have been applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.domain.outcome import ErrorClass, Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRule:
    """Class and words for a code; `retries`, `afterwards` and `operation_only` as in `Failure`."""

    error_class: ErrorClass
    message: str
    retries: int | None = None
    afterwards: ErrorClass = ErrorClass.PERMANENT
    operation_only: bool = False


def _rule(error_class: ErrorClass, message: str) -> CodeRule:
    return CodeRule(error_class=error_class, message=message)


def _once(message: str) -> CodeRule:
    return CodeRule(error_class=ErrorClass.RETRYABLE, message=message, retries=1, afterwards=ErrorClass.CREDENTIALS)


_KEYS = _rule(ErrorClass.CREDENTIALS, "the vendor refused the API key or its signature")
_RIGHTS = CodeRule(
    error_class=ErrorClass.CREDENTIALS, message="the API key lacks the right for this operation", operation_only=True
)
_EGRESS = _rule(ErrorClass.CREDENTIALS, "the vendor refused our network address")
_DISABLED = _rule(ErrorClass.CREDENTIALS, "the vendor account is disabled")
_RATE = _rule(ErrorClass.THROTTLED, "over the vendor's request rate; stopped before it took effect")
_INPUT = _rule(ErrorClass.PERMANENT, "the vendor refused a value of the request")
_WRONG_CALL = _rule(ErrorClass.PERMANENT, "the vendor does not know this call at this host or version")
_INSTANCE = _rule(ErrorClass.PERMANENT, "the instance (sdk_app_id) does not exist on this site")
_NUMBER = _rule(ErrorClass.PERMANENT, "the vendor refused the number or its state")
_FORM = _rule(ErrorClass.PERMANENT, "the approval form is gone or can't be changed now")
_DUPLICATE = _rule(ErrorClass.PERMANENT, "the vendor already has one like it")
_PENDING = _rule(ErrorClass.CAPACITY, "too many approval forms wait for review")
_SEATS = _rule(ErrorClass.CAPACITY, "seats, licences or the package are used up")
_CLOSED = _rule(ErrorClass.CAPACITY, "the feature must be opened by the vendor first")
_IN_USE = _rule(ErrorClass.CAPACITY, "the resource is in use or used up")
_GONE = _rule(ErrorClass.PERMANENT, "the resource does not exist")
_UNCLEAR = _rule(ErrorClass.AMBIGUOUS, "the vendor failed at an unknown point")
_TOO_LONG = _rule(ErrorClass.AMBIGUOUS, "the vendor's answer would have been too large")

UNKNOWN = _rule(ErrorClass.AMBIGUOUS, "the vendor answered with a code we do not know")

RULES: Mapping[str, CodeRule] = {
    "AuthFailure.SignatureExpire": _once("the request's time was off; check the host clock"),
    "AuthFailure.TokenFailure": _once("the vendor refused the temporary (STS) token"),
    "AuthFailure.SignatureFailure": _KEYS,
    "AuthFailure.SecretIdNotFound": _KEYS,
    "AuthFailure.InvalidSecretId": _KEYS,
    "AuthFailure.InvalidAuthorization": _KEYS,
    "AuthFailure.MFAFailure": _KEYS,
    "AuthFailure.UnauthorizedOperation": _RIGHTS,
    "UnauthorizedOperation": _RIGHTS,
    "FailedOperation.PermissionDenied": _RIGHTS,
    "IpInBlacklist": _EGRESS,
    "IpNotInWhitelist": _EGRESS,
    "OperationDenied.UinDisabled": _DISABLED,
    "OperationDenied.NotInWhiteList": _CLOSED,
    "RequestLimitExceeded": _RATE,
    "RequestLimitExceeded.UinLimitExceeded": _RATE,
    "RequestLimitExceeded.IPLimitExceeded": _RATE,
    "RequestLimitExceeded.GlobalRegionUinLimitExceeded": _RATE,
    "InvalidParameter": _INPUT,
    "InvalidParameterValue": _INPUT,
    "MissingParameter": _INPUT,
    "UnknownParameter": _INPUT,
    "InvalidRequest": _INPUT,
    "RequestSizeLimitExceeded": _INPUT,
    "InvalidAction": _WRONG_CALL,
    "NoSuchProduct": _WRONG_CALL,
    "NoSuchVersion": _WRONG_CALL,
    "UnsupportedRegion": _WRONG_CALL,
    "UnsupportedProtocol": _WRONG_CALL,
    "UnsupportedOperation": _WRONG_CALL,
    "ActionOffline": _WRONG_CALL,
    "DryRunOperation": _WRONG_CALL,
    "InvalidParameter.InstanceNotExist": _INSTANCE,
    "InvalidParameterValue.InstanceNotExist": _INSTANCE,
    "InvalidParameterValue.PhoneNumInvalid": _NUMBER,
    "InvalidParameterValue.ApplyIDNotExist": _FORM,
    "InvalidParameterValue.ErrorApplyStatus": _FORM,
    "InvalidParameterValue.WaitingApprovalOverflow": _PENDING,
    "InvalidParameterValue.SkillGroupExist": _DUPLICATE,
    "InvalidParameter.DuplicateAddress": _DUPLICATE,
    "InvalidParameter.DuplicatePhoneNumber": _DUPLICATE,
    "InvalidParameter.DuplicateSipAccount": _DUPLICATE,
    "FailedOperation": _UNCLEAR,
    "FailedOperation.DuplicatedAccount": _DUPLICATE,
    "FailedOperation.CurStateNotAllowModify": _NUMBER,
    "LimitExceeded": _SEATS,
    "InternalError": _UNCLEAR,
    "ServiceUnavailable": _UNCLEAR,
    "ResourceUnavailable": _UNCLEAR,
    "ResponseSizeLimitExceeded": _TOO_LONG,
    "ResourceNotFound": _GONE,
    "ResourceInUse": _IN_USE,
    "ResourceInsufficient": _IN_USE,
}
"""Code or dotted prefix to rule. Codes not listed by name fall to their prefix: the other `InvalidParameter.*` and
`InvalidParameterValue.*` are refused input, `LimitExceeded.*` is capacity, `InternalError.DBError` is unclear (it may
hide a duplicate key or a missing row)."""


def rule_for(code: str) -> CodeRule:
    """The rule of the longest listed prefix that ends at a dot; else UNKNOWN."""
    parts = code.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((RULES[prefix] for prefix in prefixes if prefix in RULES), UNKNOWN)


def failure_for(code: str, request_id: str | None) -> Failure:
    """The vendor's code as a failure, in our words: its `Message` may change and may quote the request."""
    rule = rule_for(code)
    return Failure(
        error_class=rule.error_class,
        code=code,
        message=rule.message,
        request_id=request_id,
        retries=rule.retries,
        afterwards=rule.afterwards,
        operation_only=rule.operation_only,
    )
