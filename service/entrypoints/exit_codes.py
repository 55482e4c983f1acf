"""How a command ends, as numbers that scripts can rely on."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """The same for every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    PARTLY_FAILED = 4
    REFUSED = 5
    UNREACHABLE = 6


EPILOG: Final = (
    "Exit codes: 0 done, 1 failed, 2 usage or broken configuration, 3 not found, 4 partly failed, 5 refused, "
    "6 unreachable. Data goes to stdout, everything else to stderr; NO_COLOR is respected."
)
