import pytest

from service.domain.outcome import ErrorClass
from service.vendors.huawei_aicc.error_codes import failure_for_return_code, failure_for_status


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (400, ErrorClass.PERMANENT),
        (404, ErrorClass.PERMANENT),
        (429, ErrorClass.THROTTLED),
        (500, ErrorClass.AMBIGUOUS),
        (502, ErrorClass.AMBIGUOUS),
        (503, ErrorClass.AMBIGUOUS),
        (504, ErrorClass.AMBIGUOUS),
        (201, ErrorClass.AMBIGUOUS),
        (302, ErrorClass.AMBIGUOUS),
        (418, ErrorClass.AMBIGUOUS),
    ],
)
def test_status_has_its_class(status: int, error_class: ErrorClass) -> None:
    failure = failure_for_status(status)
    assert (failure.error_class, failure.code) == (error_class, f"HTTP{status}")


@pytest.mark.parametrize("status", [401, 403])
def test_refused_token_gets_one_more_try_and_then_is_a_matter_of_credentials(status: int) -> None:
    failure = failure_for_status(status)
    assert (failure.error_class, failure.retries) == (ErrorClass.RETRYABLE, 1)
    assert failure.afterwards is ErrorClass.CREDENTIALS


@pytest.mark.parametrize(
    ("return_code", "code"),
    [
        ("1", "returnCode:1"),
        (12, "returnCode:12"),
        ("CC-DB.001", "returnCode:CC-DB.001"),
        (None, "UnreadableCode"),
        ("", "UnreadableCode"),
        ("route 9911411 of li@example.com", "UnreadableCode"),
        ({"a": 1}, "UnreadableCode"),
    ],
)
def test_return_code_is_unclear_and_kept_if_it_looks_like_one(return_code: object, code: str) -> None:
    failure = failure_for_return_code(return_code)
    assert (failure.error_class, failure.code) == (ErrorClass.AMBIGUOUS, code)
