"""`cordboard token`: makes a token of the HTTP API; it is shown once and kept nowhere."""

from __future__ import annotations

import re
import secrets
import sys
from typing import Final

from service.entrypoints.callers import token_hash
from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, say, show_json
from service.settings_sections import HOLDER_PATTERN, TAKEN_NAMES, Role

PREFIX: Final = "cord_"
RANDOM_BYTES: Final = 32


def new_token() -> str:
    """256 random bits, in letters that need no escape anywhere; the prefix lets scanners find one that got out."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def show_new_token(name: str, role: Role, output: Output) -> ExitCode:
    """Print a new token on stdout, and on stderr what the server's settings need to know of it."""
    if not re.fullmatch(HOLDER_PATTERN, name) or name in TAKEN_NAMES:
        taken = " or ".join(TAKEN_NAMES)
        say(f"a name is lower-case letters, digits, _ . and -, a letter first, 64 at most, and not {taken}")
        return ExitCode.USAGE
    token = new_token()
    sha256 = token_hash(token)
    if output is Output.JSON:
        show_json({"name": name, "role": role.value, "token": token, "sha256": sha256})
    else:
        sys.stdout.write(f"{token}\n")
    say("This token is shown once. Add its hash to the settings and start the servers anew:")
    say(f'http:\n  tokens:\n    {name}: {{role: {role.value}, sha256: "{sha256}"}}')
    return ExitCode.DONE
