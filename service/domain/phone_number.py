"""Telephone numbers: read once, kept as E.164. Vendors' shapes are their rooms' business."""

from __future__ import annotations

import phonenumbers

from service.domain.blueprint import CannotPlanError, invalid


def e164(text: str, country: str) -> str:
    """Read a number given as E.164 or national in `country` (ISO 3166 alpha-2).

    Raises CannotPlanError (`incomplete`, field `number`) for one that can't be a number there.
    """
    try:
        parsed = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        raise _none_that(country) from None
    if parsed.extension or not _is_whole(parsed):
        raise _none_that(country)
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _is_whole(number: phonenumbers.PhoneNumber) -> bool:
    """True for a number that can be dialled from anywhere: one without its area code can't, a hotline's can.

    One of a range that nobody has been given is none: its national shape, which a vendor's form wants, is unknown.
    """
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason == phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
        region = phonenumbers.region_code_for_country_code(number.country_code or 0)
        return phonenumbers.is_valid_short_number_for_region(number, region)
    return reason == phonenumbers.ValidationResult.IS_POSSIBLE and phonenumbers.is_valid_number(number)


def _none_that(country: str) -> CannotPlanError:
    return invalid("number", f"`number` can't be read as a telephone number in {country}: give it as E.164")
