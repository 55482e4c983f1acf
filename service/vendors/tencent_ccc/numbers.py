"""The vendor's three shapes of a phone number, and E.164, which is ours.

Forms take the national shape with its trunk prefix (`02012345678`), stored numbers read `00` + country code + the
national shape (`0086075586013388`), callbacks show E.164 (tencentcloud.com/document/product/1229/68002, /73138 and
/70684, read 2026-08). The vendor shows these for China only; other countries follow the same rule, by inference.
"""

from __future__ import annotations

import phonenumbers


def to_national(e164: str) -> str:
    """E.164 as the form wants it: digits dialled within the country, trunk prefix included where it has one."""
    parsed = phonenumbers.parse(e164)
    shown = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    return "".join(sign for sign in shown if sign.isdigit())


def to_stored(e164: str) -> str:
    """E.164 as the vendor stores and binds it: `0086` and the national shape, its trunk 0 kept."""
    return f"00{phonenumbers.parse(e164).country_code}{to_national(e164)}"


def to_e164(shape: str, country: str) -> str | None:
    """Any of the three shapes as E.164; None when it is no phone number (an internal one, say).

    A national shape is read in `country` (ISO 3166 alpha-2).
    """
    text = f"+{shape[2:]}" if shape.startswith("00") else shape
    try:
        parsed = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
