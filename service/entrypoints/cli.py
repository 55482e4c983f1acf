"""The command line. Every command reads its arguments here and does its work in a module of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from service.entrypoints.cli_desk import ClassOption, CodeOption, SinceOption, UntilOption, desk
from service.entrypoints.cli_options import (
    ConfigOption,
    OutputOption,
    TokenFileOption,
    UrlOption,
    quiet_libraries,
    server_or_exit,
    settings_or_exit,
)
from service.entrypoints.exit_codes import EPILOG, ExitCode
from service.entrypoints.rendering import Output, say, show_rows, stop

MIGRATION_COLUMNS: Final = {"number": "number", "name": "migration", "applied_at": "applied"}

app = typer.Typer(
    name="cordboard",
    help="Turns HR and CRM events on Kafka into provisioning at contact-centre vendors: once, in order, in quota.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(desk)

# modules are imported where a command needs them, so that `--help` does not load Kafka, vendors and all
# ruff: noqa: PLC0415


def main() -> int:
    """Run the command line; the exit code. An unforeseen fault is told without its values."""
    try:
        app()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else ExitCode.DONE
    except Exception as bug:  # noqa: BLE001 - the last line of defence: a traceback could show a secret
        _tell(bug)
        return ExitCode.FAILED
    return ExitCode.DONE


def _tell(bug: Exception) -> None:
    import traceback

    from service.adapters.logs import REDACTOR

    say("a fault inside Cordboard; please report these lines")
    say(REDACTOR.text("".join(traceback.format_exception(bug))))


def _version(asked: bool) -> None:  # noqa: FBT001 - how typer calls it
    if asked:
        from service.adapters.logs import service_version

        typer.echo(f"cordboard {service_version()}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: cordboard run --config cordboard.yaml")
def run(
    *,
    config: ConfigOption = None,
    without_api: Annotated[
        bool,
        typer.Option("--without-api", help="Serve health and metrics alone, no HTTP API; needs a PostgreSQL ledger."),
    ] = False,
    api_only: Annotated[
        bool, typer.Option("--api-only", help="Only serve the HTTP API; needs a PostgreSQL ledger.")
    ] = False,
) -> None:
    """Run a server until SIGTERM or Ctrl-C: take events in, provision, tell outcomes, serve the HTTP API.

    With a PostgreSQL ledger any number of servers share the work, and some may serve only one side.
    """
    if without_api and api_only:
        raise stop("give --without-api or --api-only, not both", ExitCode.USAGE)
    settings = settings_or_exit(config, needs_accounts=not api_only)
    if (without_api or api_only) and not settings.is_shared:
        one_side = "--api-only" if api_only else "--without-api"
        raise stop(f"{one_side} needs a ledger that several servers share: postgresql://…", ExitCode.USAGE)
    from service.adapters.ledger_sql.migrations import MigrationError
    from service.adapters.logs import configure_logging
    from service.adapters.metrics import MeteredTelemetry
    from service.application.ports import UnavailableError
    from service.entrypoints.worker import run_api, run_worker

    configure_logging(sys.stdout, level=settings.log.level, form=settings.log.format)
    try:
        if api_only:
            code = asyncio.run(run_api(settings, MeteredTelemetry(expected=("ledger",))))
        else:
            code = asyncio.run(run_worker(settings, MeteredTelemetry(), with_api=not without_api))
    except (MigrationError, UnavailableError) as trouble:
        raise stop(str(trouble), ExitCode.FAILED) from None
    except OSError as trouble:
        raise stop(f"can't start: {trouble.strerror or type(trouble).__name__}", ExitCode.FAILED) from None
    raise typer.Exit(code)


@app.command(epilog="Example: cordboard demo --stay")
def demo(
    *,
    stay: Annotated[bool, typer.Option("--stay", help="Keep broker, sandbox and API up until Ctrl-C.")] = False,
    hires: Annotated[int, typer.Option("--hires", min=1, max=5000, help="How many agents are hired.")] = 60,
) -> None:
    """Show a mixed day on an embedded broker and the sandbox; needs nothing but this machine."""
    from service.entrypoints.demo import run_demo

    raise typer.Exit(run_demo(stay=stay, hires=hires))


@app.command(epilog="Example: cordboard sandbox --port 8085 --journal journal.jsonl")
def sandbox(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 0,
    config: Annotated[
        Path | None, typer.Option("--config", help="JSON file; without it, keys made for trying.")
    ] = None,
    journal: Annotated[Path | None, typer.Option("--journal", help="File for what arrived, as JSON lines.")] = None,
) -> None:
    """Serve both vendors' stand-in on this machine; one JSON line on stdout says where it answers."""
    from service.entrypoints.cli_sandbox import serve_sandbox

    raise typer.Exit(serve_sandbox(port=port, config=config, journal=journal).value)


@app.command(epilog="Example: cordboard check --config cordboard.yaml --output json")
def check(config: ConfigOption = None, output: OutputOption = Output.TABLE) -> None:
    """Check configuration, Kafka, ledger and every vendor account; one harmless read is sent for each account."""
    settings = settings_or_exit(config)
    quiet_libraries()
    from service.entrypoints.cli_check import show_check

    raise typer.Exit(show_check(settings, output).value)


@app.command(epilog="Example: cordboard health --ready")
def health(
    *,
    ready: Annotated[
        bool, typer.Option("--ready", help="Also ask whether ledger, Kafka and all it needs are there.")
    ] = False,
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Ask a running server whether it makes progress; 0 if so. For containers' health checks, and scripts that wait."""
    from service.entrypoints.cli_server import ServerError

    try:
        said = server_or_exit(url, None, config).get("/readyz" if ready else "/livez")
    except ServerError as unwell:
        raise stop(str(unwell), unwell.code) from None
    typer.echo(said.get("status"))


@app.command(epilog="Example: cordboard migrate --status")
def migrate(
    *,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
    status: Annotated[bool, typer.Option("--status", help="Only say which are applied.")] = False,
) -> None:
    """Bring the ledger's schema up to date, while no server has it. A starting server does so by itself."""
    settings = settings_or_exit(config)
    from service.adapters.ledger_sql.migrations import MigrationError
    from service.adapters.ledger_sqlite.file import LedgerLockedError
    from service.application.ports import UnavailableError
    from service.entrypoints import ledger_schema
    from service.entrypoints.public_views import moment

    try:
        made = () if status else ledger_schema.migrate(settings)
        statuses = ledger_schema.status(settings)
    except LedgerLockedError as held:
        raise stop(str(held), ExitCode.REFUSED) from None
    except MigrationError as wrong:
        raise stop(str(wrong), ExitCode.FAILED) from None
    except UnavailableError as away:
        raise stop(str(away), ExitCode.UNREACHABLE) from None
    rows = [{"number": s.number, "name": s.name, "applied_at": moment(s.applied_at)} for s in statuses]
    show_rows(rows, MIGRATION_COLUMNS, output)
    if not status:
        say(f"{len(made)} applied" if made else "nothing to apply")


@app.command(epilog="Example: cordboard topics --create --partitions 12 --replication-factor 3")
def topics(
    *,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
    create: Annotated[bool, typer.Option("--create", help="Make what is missing.")] = False,
    partitions: Annotated[int, typer.Option("--partitions", min=1, max=10000)] = 6,
    replication_factor: Annotated[
        int | None, typer.Option("--replication-factor", min=1, max=32, help="Default: one a broker, at most 3.")
    ] = None,
) -> None:
    """Print the topics Cordboard needs with their settings, or make those that are missing."""
    settings = settings_or_exit(config)
    quiet_libraries()
    from service.entrypoints.cli_topics import Wish, show_topics

    wish = Wish(partitions=partitions, replication_factor=replication_factor)
    raise typer.Exit(show_topics(settings, wish, output, create=create).value)


@app.command(epilog="Example: cordboard plan events.json, or: cordboard plan - < events.jsonl")
def plan(
    file: Annotated[Path, typer.Argument(help="CloudEvents: a JSON array, JSON lines, or one; - reads stdin.")],
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what events would do, from the settings alone; nothing is sent, stored or looked up."""
    settings = settings_or_exit(config)
    from service.entrypoints.cli_plan import NotEventsError, show_preview

    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        code = show_preview(content, settings, output)
    except OSError as error:
        raise stop(f"{file} can't be read: {error.strerror}", ExitCode.USAGE) from None
    except NotEventsError as error:
        raise stop(str(error), ExitCode.USAGE) from None
    raise typer.Exit(code.value)


@app.command(epilog="Example: cordboard token alice --role operator")
def token(
    name: Annotated[str, typer.Argument(help="Who will hold it; acts are recorded under this name.")],
    role: Annotated[
        Literal["viewer", "operator"], typer.Option("--role", help="A viewer looks, an operator also acts.")
    ] = "viewer",
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a token for the HTTP API: printed once on stdout; the settings get its hash, as stderr says."""
    from service.entrypoints.cli_token import show_new_token
    from service.settings_sections import Role

    raise typer.Exit(show_new_token(name, Role(role), output).value)


@app.command("list", epilog="Example: cordboard list --state in_doubt --state failed --account acme_cn")
def list_(
    *,
    state: Annotated[list[str] | None, typer.Option("--state", help="May be given several times.")] = None,
    operation: Annotated[str | None, typer.Option("--operation", help="As tencent_ccc.CreateExtension.")] = None,
    account: Annotated[str | None, typer.Option("--account")] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="As agent:workday/4711.")] = None,
    resource: Annotated[str | None, typer.Option("--resource", help="As extension:acme_cn/1001.")] = None,
    plan_id: Annotated[str | None, typer.Option("--plan", help="Commands of one plan.")] = None,
    plans: Annotated[bool, typer.Option("--plans", help="List plans instead of commands.")] = False,
    error_class: ClassOption = None,
    code: CodeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    after: Annotated[str | None, typer.Option("--after", help="Go on behind this id.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List commands, or plans, of a running server."""
    from service.entrypoints.cli_server import ServerError, list_page

    given = {"operation": operation, "account": account, "subject": subject, "resource": resource, "plan": plan_id}
    given |= {"error_class": error_class, "code": code, "since": since, "until": until}
    filters = [("state", one) for one in state or []]
    filters += [(name, value) for name, value in ({**given, "after": after}).items() if value is not None]
    try:
        server = server_or_exit(url, token_file, config)
        ended = list_page(server, "plans" if plans else "commands", [*filters, ("limit", str(limit))], output)
    except ServerError as refused:
        raise stop(str(refused), refused.code) from None
    raise typer.Exit(ended.value)


@app.command(epilog="Example: cordboard show plan_0123456789abcdef --output json")
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Of a command or a plan.")],
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one command with its attempts and history, or one plan with its commands, of a running server."""
    from service.entrypoints.cli_server import ServerError, show_one

    try:
        code = show_one(server_or_exit(url, token_file, config), id_, output)
    except ServerError as refused:
        raise stop(str(refused), refused.code) from None
    raise typer.Exit(code.value)


@app.command(epilog="Example: cordboard contracts --export schemas-for-others")
def contracts(
    *,
    check_: Annotated[
        bool, typer.Option("--check", help="Compare the documents with the models; 1 if they differ.")
    ] = False,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write schemas and AsyncAPI into this folder.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the events that are read and published; check or export their JSON Schemas and AsyncAPI document."""
    from service.entrypoints.cli_contracts import check_contracts, export_contracts, show_contracts

    if check_:
        raise typer.Exit(check_contracts().value)
    if export is not None:
        raise typer.Exit(export_contracts(export).value)
    show_contracts(output)
