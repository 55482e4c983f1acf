import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.vendors.tencent_ccc.numbers import to_e164, to_national, to_stored

SHAPES = [
    # country, E.164, national as dialled, as the vendor stores it
    ("CN", "+862012345678", "02012345678", "008602012345678"),
    ("CN", "+8675586013388", "075586013388", "0086075586013388"),
    ("CN", "+861012345678", "01012345678", "008601012345678"),
    ("CN", "+8613800138000", "13800138000", "008613800138000"),
    ("CN", "+864001234567", "4001234567", "00864001234567"),
    ("SG", "+6561234567", "61234567", "006561234567"),
    ("GB", "+442079460958", "02079460958", "004402079460958"),
    ("US", "+12015550123", "2015550123", "0012015550123"),
    ("IT", "+390612345678", "0612345678", "00390612345678"),
]


@pytest.mark.parametrize(("country", "e164", "national", "stored"), SHAPES)
def test_number_goes_out_in_the_shape_its_call_wants(country: str, e164: str, national: str, stored: str) -> None:
    assert (to_national(e164), to_stored(e164)) == (national, stored)


@pytest.mark.parametrize(("country", "e164", "national", "stored"), SHAPES)
def test_every_shape_reads_as_e164(country: str, e164: str, national: str, stored: str) -> None:
    assert [to_e164(shape, country) for shape in (e164, national, stored)] == [e164] * 3


@pytest.mark.parametrize("shape", ["", "ext", "00", "+", "0000000000000000000000000"])
def test_what_is_no_number_reads_as_none(shape: str) -> None:
    assert to_e164(shape, "CN") is None


@given(st.integers(min_value=10, max_value=999), st.integers(min_value=1_000_000, max_value=99_999_999))
def test_valid_chinese_numbers_come_back_from_the_stored_shape(area: int, line: int) -> None:
    e164 = f"+86{area}{line}"
    if phonenumbers.is_valid_number(phonenumbers.parse(e164)):
        assert to_e164(to_stored(e164), "CN") == e164
        assert to_e164(to_national(e164), "CN") == e164
