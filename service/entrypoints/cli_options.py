"""Options that several commands share, and how they come by their settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, say

if TYPE_CHECKING:
    from service.settings import Faults, Settings

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="CORDBOARD_CONFIG", help="YAML file; CORDBOARD_… variables override it."),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How data is printed.")]


def settings_or_exit(config: Path | None, *, needs_accounts: bool = False) -> Settings:
    """Read the settings and learn their secrets; if they are broken, say all that is wrong and end with 2."""
    from service.adapters.logs import register_secret  # noqa: PLC0415 - heavy, and not needed for --help
    from service.settings import Faults, SettingsFault, load_settings  # noqa: PLC0415

    loaded = load_settings(config, os.environ)
    if isinstance(loaded, Faults):
        raise _broken(loaded)
    for secret in loaded.secrets():
        register_secret(secret)
    if needs_accounts and not loaded.accounts:
        raise _broken(Faults((SettingsFault("accounts", "none is configured, so every event would fail"),)))
    return loaded


def _broken(faults: Faults) -> typer.Exit:
    told = [str(fault) for fault in faults]
    say(f"the configuration has {len(told)} fault{'s' if len(told) > 1 else ''}; nothing was started")
    for line in told:
        say(f"  {line}")
    return typer.Exit(ExitCode.USAGE.value)


def quiet_libraries() -> None:
    """Library logs of a command: only what must be known, on stderr; what went wrong is told by the command itself."""
    import logging  # noqa: PLC0415

    from service.adapters.logs import configure_logging  # noqa: PLC0415 - heavy, and not needed for --help

    configure_logging(sys.stderr, level="error")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
