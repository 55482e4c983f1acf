"""Times as people give them: RFC 3339, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_AGE: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
MOMENT: Final = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "pattern": "^[0-9]{1,6}[smhd]$"}]
}
"""As JSON Schema says it."""
FORM: Final = "must be RFC 3339 with an offset (2027-01-15T08:00:00Z), or an age as 90s, 30m, 2h or 7d"


def read_moment(text: str, now: float) -> float | None:
    """Seconds since the epoch; None for what is neither."""
    age = _AGE.fullmatch(text)
    if age is not None:
        return now - int(age[1]) * _UNITS[age[2]]
    try:
        read = datetime.fromisoformat(text)
        return None if read.tzinfo is None else read.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None
