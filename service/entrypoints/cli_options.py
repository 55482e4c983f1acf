"""Options that several commands share, and how they come by their settings."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, say, stop

if TYPE_CHECKING:
    from service.entrypoints.cli_server import Server
    from service.settings import Faults, Settings

TOKEN_VARIABLE: Final = "CORDBOARD_TOKEN"  # noqa: S105 - a name
"""Never an option: whoever may list processes could read it."""
EVERYWHERE: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - never listened on here
"""Addresses that a server listens on, and where one on this machine is reached then."""

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="CORDBOARD_CONFIG", help="YAML file; CORDBOARD_… variables override it."),
]
UrlOption = Annotated[str | None, typer.Option("--url", help="A running server; default: from the settings.")]
TokenFileOption = Annotated[
    Path | None, typer.Option("--token-file", help=f"File with the server's token; else the variable {TOKEN_VARIABLE}.")
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How data is printed.")]


def settings_or_exit(config: Path | None, *, needs_accounts: bool = False) -> Settings:
    """Read the settings and learn their secrets; if they are broken, say all that is wrong and end with 2."""
    from service.settings import Faults, SettingsFault, load_settings  # noqa: PLC0415 - heavy, and not needed for --help

    loaded = load_settings(config, os.environ)
    if isinstance(loaded, Faults):
        raise _broken(loaded)
    learn_secrets(loaded)
    if needs_accounts and not loaded.accounts:
        raise _broken(Faults((SettingsFault("accounts", "none is configured, so every event would fail"),)))
    return loaded


def learn_secrets(settings: Settings) -> None:
    """Hide every secret, and whatever takes its place in its file; say when that happens, or can't be read."""
    from service.adapters.logs import log_line, register_secret, retire_secret  # noqa: PLC0415
    from service.vendors.file_secret import FileSecret  # noqa: PLC0415

    for setting, secret in settings.secrets():
        register_secret(secret.get_secret_value())
        if isinstance(secret, FileSecret):

            def renewed(before: str, value: str, setting: str = setting) -> None:
                register_secret(value)
                retire_secret(before)
                log_line("info", "a secret was renewed", setting=setting)

            def lost(reason: str, setting: str = setting) -> None:
                log_line("warning", "a secret can't be read; its last value stays", setting=setting, reason=reason)

            secret.listen(renewed, lost)


def server_or_exit(url: str | None, token_file: Path | None, config: Path | None) -> Server:
    """The server that a command asks, with the token that there is for it.

    Ends with 2 for a broken configuration or token. Raises ServerError when the address is none.
    """
    from service.entrypoints.cli_server import Server  # noqa: PLC0415 - not needed for --help

    token = _token_or_exit(token_file)
    return Server(url or _configured_url(config), token)


def _token_or_exit(file: Path | None) -> str | None:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    from service.adapters.logs import register_secret  # noqa: PLC0415
    from service.settings import open_to_all  # noqa: PLC0415
    from service.vendors.wire_settings import SecretFile  # noqa: PLC0415

    token = os.environ.get(TOKEN_VARIABLE) or None
    if file is not None and open_to_all(str(file)):
        raise stop(f"{file} can be read by everybody: take others' rights away (chmod o=)", ExitCode.USAGE)
    if file is not None:
        try:
            token = TypeAdapter(SecretFile).validate_python(file).get_secret_value()
        except ValidationError:
            raise stop(f"{file} can't be read as a token", ExitCode.USAGE) from None
    if token is not None:
        register_secret(token)
        if not re.fullmatch("[!-~]{1,400}", token):
            raise stop("what was given as a token can't be one", ExitCode.USAGE)
    return token


def _configured_url(config: Path | None) -> str:
    http = settings_or_exit(config).http
    host = EVERYWHERE.get(http.host, http.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{http.port}"


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
