"""The command line of the SRE's desk: find, explain, replay, hold, settle, forecast. It asks a running server.

Every rule is the server's; what is here reads options, shows answers and asks before it acts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from service.entrypoints.cli_options import ConfigOption, OutputOption, TokenFileOption, UrlOption, server_or_exit
from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, stop

if TYPE_CHECKING:
    from service.entrypoints.cli_server import Server

desk: Final = typer.Typer(no_args_is_help=True)
replays: Final = typer.Typer(no_args_is_help=True, help="Watch, pause, resume or cancel replays.")
letters: Final = typer.Typer(no_args_is_help=True, help="Records that could not become an event.")
desk.add_typer(replays, name="replays")
desk.add_typer(letters, name="dead-letters")

# modules are imported where a command needs them, so that `--help` does not load them
# ruff: noqa: PLC0415

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; kept for ever beside your token's name, so name nobody.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be asked of the server.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
AccountOption = Annotated[str | None, typer.Option("--account", help="As in the settings: acme_cn.")]
OperationOption = Annotated[str | None, typer.Option("--operation", help="As tencent_ccc.CreateExtension.")]
SubjectOption = Annotated[str | None, typer.Option("--subject", help="As agent:workday/4711.")]
ResourceOption = Annotated[str | None, typer.Option("--resource", help="As extension:acme_cn/1001.")]
ClassOption = Annotated[str | None, typer.Option("--error-class", help="As capacity, conflict, incomplete.")]
CodeOption = Annotated[str | None, typer.Option("--code", help="The vendor's code; may end in *.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="RFC 3339, or an age as 2h, 30m, 7d.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="RFC 3339, or an age.")]


def _served(
    url: str | None, token_file: Path | None, config: Path | None, act: Callable[[Server], ExitCode]
) -> typer.Exit:
    """Run a command against the server; raise what comes back."""
    from service.entrypoints.cli_server import ServerError

    try:
        return typer.Exit(act(server_or_exit(url, token_file, config)).value)
    except ServerError as refused:
        raise stop(str(refused), refused.code) from None


@desk.command(epilog="Example: cordboard failures --account acme_cn")
def failures(
    *,
    account: AccountOption = None,
    operation: OperationOption = None,
    error_class: ClassOption = None,
    code: CodeOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what is failing, since when, how many, and what to do about it."""
    from service.entrypoints import cli_desk_pages as pages

    asked = {"account": account, "operation": operation, "error_class": error_class, "code": code}
    raise _served(url, token_file, config, lambda server: pages.failures(server, asked, output))


@desk.command(epilog="Example: cordboard explain agent:workday/4711, or: cordboard explain hire-17")
def explain(
    about: Annotated[str, typer.Argument(help="A command, plan or event id, a subject, or a resource.")],
    *,
    personal: Annotated[
        bool, typer.Option("--personal", help="Operators: show names and addresses; that is written down.")
    ] = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say why something is as it is: where it came from, what was decided and done, what it waits for."""
    from service.entrypoints import cli_desk_pages as pages

    raise _served(url, token_file, config, lambda server: pages.explain(server, about, output, personal=personal))


@desk.command(
    epilog="Example: cordboard replay --code 'LimitExceeded*' --dry-run, then: "
    "cordboard replay --code 'LimitExceeded*' --reason 'seats were bought' --rate 5"
)
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Plans or commands; or give filters.")] = None,
    *,
    account: AccountOption = None,
    operation: OperationOption = None,
    subject: SubjectOption = None,
    error_class: ClassOption = None,
    code: CodeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    again: Annotated[bool, typer.Option("--again", help="Also what failed again although it was replayed.")] = False,
    rate: Annotated[float | None, typer.Option("--rate", help="Plans begun a second at most.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; needed unless --dry-run.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only preview: nothing is begun.")] = False,
    yes: YesOption = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Watch until it is finished.")] = True,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Preview failed work, then start it again: through the same quota and checks, behind live traffic.

    Ends with 4 if some of it failed again.
    """
    from service.entrypoints import cli_desk_replay as pages

    given: dict[str, Any] = {
        "ids": ids or [],
        "account": account,
        "operation": operation,
        "subject": subject,
        "error_class": error_class,
        "code": code,
        "since": since,
        "until": until,
        "again": again,
    }
    selection = {name: value for name, value in given.items() if value not in (None, [], False)}
    wish = pages.Wish(selection=selection, rate=rate, reason=reason, yes=yes, wait=wait)
    if not dry_run and reason is None:
        raise stop("say why with --reason, or look first with --dry-run", ExitCode.USAGE)
    raise _served(url, token_file, config, lambda server: pages.replay(server, wish, output, dry_run=dry_run))


@replays.command("list", epilog="Example: cordboard replays list --unfinished")
def list_replays(
    *,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Only those that run or are paused.")] = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the last replays."""
    from service.entrypoints import cli_desk_replay as pages

    raise _served(url, token_file, config, lambda server: pages.list_replays(server, output, unfinished=unfinished))


@replays.command("show", epilog="Example: cordboard replays show replay_0123456789 --items")
def show_replay(
    id_: Annotated[str, typer.Argument(metavar="ID")],
    *,
    items: Annotated[bool, typer.Option("--items", help="Also each plan with its outcome.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Watch until it is finished.")] = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show how a replay stands."""
    from service.entrypoints import cli_desk_replay as pages

    raise _served(
        url, token_file, config, lambda server: pages.show_replay(server, id_, output, items=items, wait=wait)
    )


def _replay_verb(verb: str, summary: str) -> None:
    def change(
        id_: Annotated[str, typer.Argument(metavar="ID")],
        *,
        reason: ReasonOption,
        dry_run: DryRunOption = False,
        url: UrlOption = None,
        token_file: TokenFileOption = None,
        config: ConfigOption = None,
        output: OutputOption = Output.TABLE,
    ) -> None:
        from service.entrypoints import cli_desk_pages as pages

        act = pages.Wanted(f"/v1/replays/{pages.quoted(id_)}/{verb}", {"reason": reason})
        raise _served(url, token_file, config, lambda server: pages.act(server, act, output, dry_run=dry_run))

    change.__doc__ = summary
    replays.command(verb, epilog=f"Example: cordboard replays {verb} replay_0123456789 --reason 'too fast'")(change)


_replay_verb("pause", "Begin nothing more until it is resumed; what was begun goes on.")
_replay_verb("resume", "Go on with a replay that is paused.")
_replay_verb("cancel", "Begin nothing more, for good; what was begun goes on.")


@desk.command(epilog="Example: cordboard holds --released")
def holds(
    *,
    released: Annotated[bool, typer.Option("--released", help="Those that stand no more.")] = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List holds and quarantines."""
    from service.entrypoints import cli_desk_pages as pages

    raise _served(url, token_file, config, lambda server: pages.holds(server, output, released=released))


@desk.command(epilog="Example: cordboard hold --account acme_cn --reason 'the vendor asked us to'")
def hold(
    *,
    reason: ReasonOption,
    account: AccountOption = None,
    operation: OperationOption = None,
    subject: SubjectOption = None,
    resource: ResourceOption = None,
    dry_run: DryRunOption = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Stop work that matches all that is given, until it is released; a call on its way is not called back."""
    from service.entrypoints import cli_desk_pages as pages

    given = {"account": account, "operation": operation, "subject": subject, "resource": resource}
    scope = {name: value for name, value in given.items() if value is not None}
    if not scope:
        raise stop("name an account, operation, subject or resource: everything at once is not held", ExitCode.USAGE)
    act = pages.Wanted("/v1/holds", {**scope, "reason": reason})
    raise _served(url, token_file, config, lambda server: pages.act(server, act, output, dry_run=dry_run))


@desk.command(epilog="Example: cordboard release hold_0123456789 --reason 'it is over'")
def release(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Of a hold or a quarantine, as `holds` lists them.")],
    *,
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let go what a hold, or a quarantine, stops."""
    from service.entrypoints import cli_desk_pages as pages

    act = pages.Wanted(f"/v1/holds/{pages.quoted(id_)}/release", {"reason": reason})
    raise _served(url, token_file, config, lambda server: pages.act(server, act, output, dry_run=dry_run))


@desk.command(epilog="Example: cordboard settle cmd_0123456789 --applied --apply-id 77 --reason 'seen in the console'")
def settle(
    id_: Annotated[str, typer.Argument(metavar="COMMAND", help="A command in doubt.")],
    *,
    applied: Annotated[
        bool, typer.Option("--applied/--not-applied", help="Whether the vendor did it; not applied is sent again.")
    ],
    reason: ReasonOption,
    apply_id: Annotated[str | None, typer.Option("--apply-id", help="What the vendor gave for an application.")] = None,
    dry_run: DryRunOption = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say whether the vendor did what is in doubt, after looking in its console."""
    from service.entrypoints import cli_desk_pages as pages

    said: dict[str, Any] = {"outcome": "applied" if applied else "not_applied", "reason": reason}
    act = pages.Wanted(
        f"/v1/commands/{pages.quoted(id_)}/settle", said if apply_id is None else {**said, "apply_id": apply_id}
    )
    raise _served(url, token_file, config, lambda server: pages.act(server, act, output, dry_run=dry_run))


@desk.command(epilog="Example: cordboard quota acme_cn tencent_ccc.CreateExtension --rate 10 --reason 'shared today'")
def quota(
    account: Annotated[str | None, typer.Argument(help="Without one, all quotas are listed.")] = None,
    operation: Annotated[str | None, typer.Argument(help="As tencent_ccc.CreateExtension.")] = None,
    *,
    rate: Annotated[float | None, typer.Option("--rate", help="Requests a second.")] = None,
    configured: Annotated[bool, typer.Option("--configured", help="Back to what the settings say.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; needed for a change.")] = None,
    dry_run: DryRunOption = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List quotas, or change one while the service runs: all processes go by it within two seconds."""
    from service.entrypoints import cli_desk_pages as pages

    if account is None and rate is None and not configured:
        raise _served(url, token_file, config, lambda server: pages.quotas(server, output))
    if account is None or operation is None or reason is None or (rate is None) == (not configured):
        raise stop("a change needs ACCOUNT OPERATION, --rate N or --configured, and --reason", ExitCode.USAGE)
    wanted = {"account": account, "operation": operation, "rate": rate, "reason": reason}
    act = pages.Wanted("/v1/quotas", wanted)
    raise _served(url, token_file, config, lambda server: pages.act(server, act, output, dry_run=dry_run))


@desk.command(epilog="Example: cordboard forecast --hires 200 --account acme_cn")
def forecast(
    *,
    hires: Annotated[int, typer.Option("--hires", min=0, max=1_000_000, help="So many more hires.")] = 0,
    account: AccountOption = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say when each lane is empty, given the backlog, quotas, holds, and so many more hires."""
    from service.entrypoints import cli_desk_pages as pages

    raise _served(url, token_file, config, lambda server: pages.forecast(server, hires, account, output))


@desk.command(epilog="Example: cordboard events --subject agent:workday/4711")
def events(
    *,
    id_: Annotated[str | None, typer.Option("--id", help="The event's own.")] = None,
    source: Annotated[str | None, typer.Option("--source")] = None,
    subject: SubjectOption = None,
    type_: Annotated[str | None, typer.Option("--type", help="As hr.agent.hired.v1.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    after: Annotated[str | None, typer.Option("--after", help="Go on behind the page before.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List events that the ledger still has, newest first; names and addresses are masked."""
    from service.entrypoints import cli_desk_pages as pages

    asked = {"id": id_, "source": source, "subject": subject, "type": type_, "since": since, "until": until}
    asked |= {"after": after, "limit": str(limit)}
    raise _served(url, token_file, config, lambda server: pages.events(server, asked, output))


@letters.command("list", epilog="Example: cordboard dead-letters list --state open")
def list_letters(
    *,
    topic: Annotated[str | None, typer.Option("--topic")] = None,
    why: Annotated[str | None, typer.Option("--why", help="As invalid_field, not_json, id_reused.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="open, resubmitted or discarded.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    after: Annotated[str | None, typer.Option("--after", help="Go on behind the page before.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List records that could not become an event, newest first."""
    from service.entrypoints import cli_desk_pages as pages

    asked = {"topic": topic, "reason": why, "state": state, "since": since, "until": until}
    asked |= {"after": after, "limit": str(limit)}
    raise _served(url, token_file, config, lambda server: pages.dead_letters(server, asked, output))


@letters.command("show", epilog="Example: cordboard dead-letters show hr.events:0:17")
def show_letter(
    id_: Annotated[str, typer.Argument(metavar="ID")],
    *,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show a dead letter with its record as it came, while it is kept; that you looked is written down."""
    from service.entrypoints import cli_desk_pages as pages

    raise _served(url, token_file, config, lambda server: pages.dead_letter(server, id_, output))


@letters.command("resubmit", epilog="Example: cordboard dead-letters resubmit hr.events:0:17 mended.json --reason typo")
def resubmit(
    id_: Annotated[str, typer.Argument(metavar="ID")],
    file: Annotated[Path, typer.Argument(help="The whole CloudEvent as it should have been; - reads stdin.")],
    *,
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take in what a dead letter's record should have been; the edit is written down by digests."""
    from service.entrypoints import cli_desk_pages as pages

    event = _event(file)
    act = pages.Wanted(f"/v1/dead-letters/{pages.quoted(id_)}/resubmit", {"event": event, "reason": reason})
    raise _served(url, token_file, config, lambda server: pages.act(server, act, output, dry_run=dry_run))


def _event(file: Path) -> dict[str, Any]:
    import orjson

    try:
        read = orjson.loads(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes())
    except OSError as error:
        raise stop(f"{file} can't be read: {error.strerror}", ExitCode.USAGE) from None
    except orjson.JSONDecodeError:
        raise stop(f"{file} is not JSON", ExitCode.USAGE) from None
    if not isinstance(read, dict):
        raise stop(f"{file} must hold one JSON object, a CloudEvent", ExitCode.USAGE)
    return read


@letters.command("discard", epilog="Example: cordboard dead-letters discard hr.events:0:17 --reason 'a test record'")
def discard(
    id_: Annotated[str, typer.Argument(metavar="ID")],
    *,
    reason: ReasonOption,
    dry_run: DryRunOption = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Set a dead letter aside: nobody will mend it."""
    from service.entrypoints import cli_desk_pages as pages

    act = pages.Wanted(f"/v1/dead-letters/{pages.quoted(id_)}/discard", {"reason": reason})
    raise _served(url, token_file, config, lambda server: pages.act(server, act, output, dry_run=dry_run))


@desk.command(epilog="Example: cordboard forget agent:workday/4711 --reason 'asked to be forgotten, ticket 81'")
def forget(
    subject: Annotated[str, typer.Argument(help="As agent:workday/4711.")],
    *,
    reason: ReasonOption,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Erase what is known of the person behind a subject, and say what can't be reached from here."""
    from service.entrypoints import cli_desk_pages as pages

    if not (yes or dry_run) and not _agreed(f"Erase the personal data of {subject}? It can't be undone."):
        raise stop("nothing was erased", ExitCode.REFUSED)
    act = pages.Wanted("/v1/forget", {"subject": subject, "reason": reason})
    raise _served(url, token_file, config, lambda server: pages.act(server, act, output, dry_run=dry_run))


def _agreed(question: str) -> bool:
    """Ask on a terminal; nobody there means no."""
    return sys.stdin.isatty() and typer.confirm(question, err=True)


@desk.command(epilog="Example: cordboard acts --since 7d --kind replay")
def acts(
    *,
    actor: Annotated[str | None, typer.Option("--actor", help="A token's name, or cordboard.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="As replay, hold, settle, quota.")] = None,
    object_: Annotated[str | None, typer.Option("--object", help="What it was done to.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    after: Annotated[str | None, typer.Option("--after", help="Go on behind the page before.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List what operators did, newest first: who, when, to what, why."""
    from service.entrypoints import cli_desk_pages as pages

    asked = {"actor": actor, "kind": kind, "object": object_, "since": since, "until": until}
    asked |= {"after": after, "limit": str(limit)}
    raise _served(url, token_file, config, lambda server: pages.acts(server, asked, output))
