import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.blueprint import CannotPlanError
from service.domain.outcome import ErrorClass
from service.domain.phone_number import e164


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("+862150001234", "CN", "+862150001234"),
        ("021-5000 1234", "CN", "+862150001234"),
        ("(021) 50001234", "CN", "+862150001234"),
        ("4001234567", "CN", "+864001234567"),
        ("0085221234567", "CN", "+85221234567"),
        ("+65 6123 4567", "CN", "+6561234567"),
        ("61234567", "SG", "+6561234567"),
        ("(212) 555-0123", "US", "+12125550123"),
        ("95588", "CN", "+8695588"),
    ],
)
def test_number_is_read_as_e164_or_national(text: str, country: str, number: str) -> None:
    assert e164(text, country) == number
    assert e164(number, "CN") == number


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("no number", "CN"),
        ("+", "CN"),
        ("12", "CN"),
        ("+1650", "CN"),
        ("021500012345678901", "CN"),
        ("02150001234 ext 3", "CN"),
        ("+999123456789", "CN"),
        ("555-0123", "US"),
        ("+861080000010", "CN"),  # a length that could be, in a range that nobody has
        ("", "CN"),
    ],
)
def test_what_is_no_whole_number_there_is_incomplete_and_not_repeated(text: str, country: str) -> None:
    with pytest.raises(CannotPlanError) as refused:
        e164(text, country)
    failure = refused.value.failure
    assert (failure.error_class, failure.field) == (ErrorClass.INCOMPLETE, "number")
    assert country in failure.message
    assert len(text) < 3 or text not in failure.message


@given(st.text(max_size=64))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    try:
        number = e164(text, "CN")
    except CannotPlanError:
        return
    assert e164(number, "US") == number
