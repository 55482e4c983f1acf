"""When to try again after a failure, and when to stop: pure arithmetic over class, count, age and chance."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.outcome import ErrorClass, Failure
from service.domain.value import Value


class RetryRule(Value, frozen=True, kw_only=True):
    """Exponential backoff with full jitter. Times in seconds; `attempts` and `age` bound it."""

    base: float = 0.5
    cap: float = 60.0
    attempts: int = 15
    age: float = 3600.0


RULES: Mapping[ErrorClass, RetryRule] = {
    ErrorClass.RETRYABLE: RetryRule(),
    ErrorClass.THROTTLED: RetryRule(base=1.0, cap=30.0, attempts=60, age=6 * 3600.0),
    # only reads come here with it: nothing can have been applied, so they are simply repeated
    ErrorClass.AMBIGUOUS: RetryRule(),
}


class RetryAt(Value, frozen=True):
    """Try again at this time (seconds since the epoch)."""

    due_at: float


class GiveUp(Value, frozen=True):
    """No more tries; this is what the command failed with."""

    failure: Failure


def after(
    failure: Failure,
    *,
    rules: Mapping[ErrorClass, RetryRule] = RULES,
    retries: int,
    repeats: int,
    since: float,
    now: float,
    chance: float,
) -> RetryAt | GiveUp:
    """What follows a failure that changed nothing at the vendor, by the rule of its class.

    `retries` were made before for this command, `repeats` of them in a row just now for this very code; `since` is
    when its first attempt began, `chance` lies in [0, 1).
    """
    rule = rules.get(failure.error_class)
    if rule is None:
        return GiveUp(failure)
    if failure.retries is not None and repeats >= failure.retries:
        return GiveUp(_hardened(failure))
    if retries >= rule.attempts or now - since >= rule.age:
        return GiveUp(failure)
    return RetryAt(now + pause(rule, retries, chance))


def pause(rule: RetryRule, retries: int, chance: float) -> float:
    """Seconds until the next try: anything up to a bound that doubles with every retry."""
    return chance * min(rule.cap, rule.base * 2.0 ** min(retries, 30))


def _hardened(failure: Failure) -> Failure:
    """The failure under the class it takes once its own retries are used up."""
    return Failure(
        error_class=failure.afterwards,
        code=failure.code,
        message=failure.message,
        request_id=failure.request_id,
        field=failure.field,
    )
