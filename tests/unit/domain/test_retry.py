import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.outcome import ErrorClass, Failure
from service.domain.retry import RULES, GiveUp, RetryAt, after
from tests.builders import NOW

CHANCES = st.floats(0, 1, exclude_max=True)
RETRIED = sorted(RULES)


def failed(error_class: ErrorClass = ErrorClass.RETRYABLE, *, retries: int | None = None) -> Failure:
    return Failure(
        error_class=error_class,
        code="C",
        message="m",
        request_id="r",
        retries=retries,
        afterwards=ErrorClass.CREDENTIALS,
    )


@pytest.mark.parametrize("error_class", [c for c in ErrorClass if c not in RULES])
def test_what_stays_wrong_is_not_retried(error_class: ErrorClass) -> None:
    assert after(failed(error_class), retries=0, repeats=0, since=NOW, now=NOW, chance=0.5) == GiveUp(
        failed(error_class)
    )


@given(st.sampled_from(RETRIED), st.integers(0, 100), CHANCES)
def test_delay_is_jittered_fully_and_bounded(error_class: ErrorClass, retries: int, chance: float) -> None:
    rule = RULES[error_class]
    match after(failed(error_class), retries=retries, repeats=retries, since=NOW, now=NOW, chance=chance):
        case RetryAt(due_at):
            assert retries < rule.attempts
            assert NOW <= due_at <= NOW + min(rule.cap, rule.base * 2**retries)
        case GiveUp():
            assert retries >= rule.attempts


@pytest.mark.parametrize("error_class", RETRIED)
def test_delay_doubles_until_its_cap(error_class: ErrorClass) -> None:
    rule = RULES[error_class]
    found = [
        after(failed(error_class), retries=n, repeats=n, since=0.0, now=0.0, chance=0.5) for n in range(rule.attempts)
    ]
    expected = [RetryAt(0.5 * min(rule.cap, rule.base * 2**n)) for n in range(rule.attempts)]
    assert found == expected


@pytest.mark.parametrize("error_class", RETRIED)
def test_retries_end_by_age(error_class: ErrorClass) -> None:
    age = RULES[error_class].age
    failure = failed(error_class)
    assert isinstance(after(failure, retries=0, repeats=0, since=NOW, now=NOW + age - 1, chance=0.5), RetryAt)
    assert after(failure, retries=0, repeats=0, since=NOW, now=NOW + age, chance=0.5) == GiveUp(failure)


def test_code_with_its_own_bound_counts_as_its_harder_class_afterwards() -> None:
    failure = failed(retries=1)
    assert isinstance(after(failure, retries=0, repeats=0, since=NOW, now=NOW, chance=0.5), RetryAt)
    given_up = after(failure, retries=1, repeats=1, since=NOW, now=NOW, chance=0.5)
    assert given_up == GiveUp(Failure(error_class=ErrorClass.CREDENTIALS, code="C", message="m", request_id="r"))
