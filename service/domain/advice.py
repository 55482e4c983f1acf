"""What to do about a failure, and whether replay can help: one row per error class, some codes more precisely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from contracts.outbound import FailureDetail
from service.domain.outcome import ErrorClass, Failure
from service.domain.value import Value


class Advice(Value, frozen=True, kw_only=True):
    """Whether a replay may end otherwise, and what a person should do first."""

    replay_can_help: bool
    text: str


def _replayable(text: str) -> Advice:
    return Advice(replay_can_help=True, text=text)


def _final(text: str) -> Advice:
    return Advice(replay_can_help=False, text=text)


BY_CLASS: Final[Mapping[ErrorClass, Advice]] = {
    ErrorClass.RETRYABLE: _replayable("the vendor could not be reached; check network and vendor status, then replay"),
    ErrorClass.THROTTLED: _replayable("something else spends this account's quota; find it, then replay"),
    ErrorClass.AMBIGUOUS: _replayable("the vendor may have done it; look in its console before anything is sent again"),
    ErrorClass.CREDENTIALS: _replayable("check the account's key, its rights and its site, then replay"),
    ErrorClass.CAPACITY: _replayable("buy seats or licences, or wait for pending reviews, then replay"),
    ErrorClass.PERMANENT: _final("the vendor refuses this input; correct it at its source and send a new event"),
    ErrorClass.CONFLICT: _replayable(
        "the resource is somebody else's; free it or choose another, then replay or send a new event"
    ),
    ErrorClass.INCOMPLETE: _replayable(
        "add what is missing to the account's settings and replay, or correct the event"
    ),
    ErrorClass.UNSUPPORTED: _replayable(
        "this account's vendor can't do it as asked; let the settings say otherwise and replay, or use its console"
    ),
}

_UNTRUSTED: Final = _replayable(
    "somebody else may answer in the vendor's place: compare base_url with the certificate that is shown there; behind "
    "a proxy with an authority of its own set the account's ca_file"
)

BY_CODE: Final[Mapping[str, Advice]] = {
    "AuthFailure.SignatureExpire": _replayable("the host's clock is off by over five minutes; set it, then replay"),
    "AuthFailure.SignatureFailure": _replayable("the secret key is not the one of the secret id; fix it, then replay"),
    "AuthFailure.SecretIdNotFound": _replayable("the secret id does not exist at this site; fix it, then replay"),
    "AuthFailure.TokenFailure": _replayable("the temporary token has expired; provide a fresh one, then replay"),
    "CertificateRefused": _UNTRUSTED,
    "TokenCertificateRefused": _UNTRUSTED,
    "refused": _final("the review refused the number; settle it with the vendor, then purchase it again"),
    "resource_taken": _replayable("another subject holds this resource; release it there or choose another"),
}


def advise(failure: Failure) -> Advice:
    """The most precise advice there is."""
    return BY_CODE.get(failure.code, BY_CLASS[failure.error_class])


def failure_detail(failure: Failure) -> FailureDetail:
    """A failure as it is published."""
    advice = advise(failure)
    return FailureDetail(
        error_class=failure.error_class,
        code=failure.code or None,
        request_id=failure.request_id or None,
        message=failure.message,
        field=failure.field,
        replay_can_help=advice.replay_can_help,
        advice=advice.text,
    )
