import pytest

from service.domain.advice import BY_CLASS, BY_CODE, advise, failure_detail
from service.domain.outcome import ErrorClass, Failure


@pytest.mark.parametrize("error_class", list(ErrorClass))
def test_every_class_says_what_to_do(error_class: ErrorClass) -> None:
    advice = advise(Failure(error_class=error_class, code="?", message="m"))
    assert advice is BY_CLASS[error_class]
    assert advice.text


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_code_with_advice_of_its_own_goes_before_its_class(code: str) -> None:
    assert advise(Failure(error_class=ErrorClass.CREDENTIALS, code=code, message="m")) is BY_CODE[code]


@pytest.mark.parametrize("error_class", [ErrorClass.INCOMPLETE, ErrorClass.UNSUPPORTED])
def test_what_the_settings_can_cure_is_replayable(error_class: ErrorClass) -> None:
    assert BY_CLASS[error_class].replay_can_help


def test_failure_is_published_with_code_request_field_and_advice() -> None:
    failure = Failure(error_class=ErrorClass.PERMANENT, code="X", message="m", request_id="r", field="f")
    detail = failure_detail(failure)
    assert (detail.error_class, detail.code, detail.request_id, detail.field) == (ErrorClass.PERMANENT, "X", "r", "f")
    assert not detail.replay_can_help
    assert detail.advice == BY_CLASS[ErrorClass.PERMANENT].text


def test_empty_code_and_request_are_published_as_absent() -> None:
    detail = failure_detail(Failure(error_class=ErrorClass.RETRYABLE, code="", message="m", request_id=""))
    assert (detail.code, detail.request_id) == (None, None)
