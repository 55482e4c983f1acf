"""`cordboard list` and `show`: asks a running server's HTTP API; the ledger's file has one owner, and that is it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import orjson

from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, console, say, show_fields, show_json, show_rows
from service.vendors.wire_settings import is_loopback

DEADLINE_SECONDS: Final = 30.0
TRIES: Final = 3
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
COMMAND_COLUMNS: Final = {
    "id": "command",
    "state": "state",
    "cause": "waits for",
    "operation": "operation",
    "resource": "resource",
    "attempts": "attempts",
    "due_at": "due",
    "outcome": "outcome",
}
PLAN_COLUMNS: Final = {
    "id": "plan",
    "state": "state",
    "subject": "subject",
    "account": "account",
    "created_at": "created",
    "ended_at": "ended",
    "outcome": "why",
}
ATTEMPT_COLUMNS: Final = {
    "epoch": "epoch",
    "number": "attempt",
    "call": "call",
    "marked_at": "marked",
    "slot_at": "sent",
    "ended_at": "ended",
    "outcome": "outcome",
    "code": "code",
    "request_id": "request id",
}
HISTORY_COLUMNS: Final = {"at": "at", "before": "from", "after": "to", "cause": "cause", "actor": "by"}
ENDS: Final[Mapping[int, ExitCode]] = {
    400: ExitCode.USAGE,
    401: ExitCode.REFUSED,
    403: ExitCode.REFUSED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.REFUSED,
    413: ExitCode.USAGE,
    421: ExitCode.REFUSED,
    422: ExitCode.USAGE,
    503: ExitCode.UNREACHABLE,
}


class ServerError(Exception):
    """The server can't be reached, or does not do it; `code` is how the command ends."""

    def __init__(self, code: ExitCode, message: str) -> None:
        """Keep the exit code beside the message."""
        super().__init__(message)
        self.code = code


class Server:
    """A running server's HTTP API."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """`url` is `http://host:port`, or https. Raises ServerError for all else, or if the token could be read."""
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            raise ServerError(ExitCode.USAGE, "--url must be http://host:port") from None
        if parts.scheme not in {"http", "https"} or not self._host:
            raise ServerError(ExitCode.USAGE, "--url must be http://host:port")
        if token is not None and parts.scheme == "http" and not is_loopback(self._host):
            message = (
                f"a token is not sent to {self._host} over plain http, where others can read it: give an https --url"
            )
            raise ServerError(ExitCode.USAGE, message)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._open = HTTPSConnection if parts.scheme == "https" else HTTPConnection

    def get(self, path: str, query: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        """A JSON document. Raises ServerError."""
        return self._ask("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Have something done, once: a reply that gets lost is asked for again under its key. Raises ServerError."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(16)}
        for tries_left in reversed(range(TRIES)):
            try:
                return self._ask("POST", path, orjson.dumps(document), headers)
            except ServerError as trouble:
                if trouble.code is not ExitCode.UNREACHABLE or not tries_left:
                    raise
        raise AssertionError("the last try ends it")

    def _ask(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        connection = self._open(self._host, self._port, timeout=DEADLINE_SECONDS)
        try:
            connection.request(method, path, body=content, headers={**self._headers, **(headers or {})})
            return _document(connection.getresponse())
        except (OSError, HTTPException) as trouble:
            where = f"{self._host}:{self._port}"
            message = f"no server answers at {where} ({type(trouble).__name__}); is `cordboard run` up?"
            raise ServerError(ExitCode.UNREACHABLE, message) from trouble
        finally:
            connection.close()


def _document(response: HTTPResponse) -> dict[str, Any]:
    body = response.read(MAX_ANSWER_BYTES)
    if response.length and len(body) < MAX_ANSWER_BYTES:
        raise IncompleteRead(body, response.length)  # read() itself says nothing about a reply that was cut off
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise ServerError(ExitCode.FAILED, f"what answers is no Cordboard (HTTP {response.status}, not JSON)")
    if response.status not in {200, 202}:
        said = document.get("detail")
        detail = said if isinstance(said, str) and said else f"HTTP {response.status}"
        raise ServerError(ENDS.get(response.status, ExitCode.FAILED), "; ".join([detail, *_faults(document)]))
    return document


def _faults(document: Mapping[str, Any]) -> list[str]:
    """What a problem says of single fields; another server's may say it in another form."""
    errors = document.get("errors")
    faults = [fault for fault in errors if isinstance(fault, dict)] if isinstance(errors, list) else []
    told = [(fault.get("field") or "body", fault.get("message")) for fault in faults]
    return [f"{field}: {message}" for field, message in told if isinstance(field, str) and isinstance(message, str)]


def list_page(server: Server, kind: str, filters: Sequence[tuple[str, str]], output: Output) -> ExitCode:
    """Print one page of `commands` or `plans`."""
    page = server.get(f"/v1/{kind}", filters)
    if output is Output.JSON:
        show_json(page)
        return ExitCode.DONE
    columns = COMMAND_COLUMNS if kind == "commands" else PLAN_COLUMNS
    show_rows(
        [row | {"outcome": outcome_cell(row)} for row in page["items"]], columns, output, empty=f"no {kind} match"
    )
    if page["next"] is not None:
        say(f"there are more: --after {page['next']}")
    return ExitCode.DONE


def show_one(server: Server, identity: str, output: Output) -> ExitCode:
    """Print a command with its attempts and history, or a plan with its commands."""
    try:
        document = server.get(f"/v1/commands/{quote(identity, safe='')}")
    except ServerError as refused:
        if refused.code is not ExitCode.NOT_FOUND:
            raise
        document = _plan(server, identity)
    if output is Output.JSON:
        show_json(document)
    elif "commands" in document:
        _show_plan(document)
    else:
        _show_command(document)
    return ExitCode.DONE


def _plan(server: Server, identity: str) -> dict[str, Any]:
    try:
        return server.get(f"/v1/plans/{quote(identity, safe='')}")
    except ServerError as refused:
        if refused.code is ExitCode.NOT_FOUND:
            raise ServerError(ExitCode.NOT_FOUND, "no command and no plan has this id") from None
        raise


def _show_command(document: Mapping[str, Any]) -> None:
    apart = ("attempts_made", "history", "plan")
    show_fields({name: value for name, value in document.items() if name not in apart})
    for name, columns in (("attempts_made", ATTEMPT_COLUMNS), ("history", HISTORY_COLUMNS)):
        if document[name]:
            console().print()
            show_rows(document[name], columns, Output.TABLE)


def _show_plan(document: Mapping[str, Any]) -> None:
    show_fields({name: value for name, value in document.items() if name != "commands"})
    if document["commands"]:
        console().print()
        rows = [row | {"outcome": outcome_cell(row)} for row in document["commands"]]
        show_rows(rows, COMMAND_COLUMNS, Output.TABLE)


def outcome_cell(row: Mapping[str, Any]) -> str | None:
    """How a plan or command ended, in a few words."""
    failure = row.get("failure")
    if failure is None:
        return row.get("result")
    return f"{failure['error_class']} {failure['code']}: {failure['message']}"
