"""The command line with a ledger that several servers share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from service.adapters.ledger_postgres.ledger import PostgresLedger
from tests.builders import make_command
from tests.conformance.ledger.bench import put_work
from tests.integration.test_cli_processes import ENVIRON, cordboard, ended, line_with
from tests.postgres.server import PostgresServer


def sharing(url: str) -> Mapping[str, str]:
    """The environment of a process that shares the ledger."""
    parts = urlsplit(url)
    ledger = {
        "CORDBOARD_LEDGER": url.replace(f":{parts.password}@", "@"),
        "CORDBOARD_LEDGER_PASSWORD": parts.password or "",
    }
    return {**ENVIRON, **ledger}


@pytest.mark.parametrize("flag", ["--api-only", "--without-api"])
async def test_one_side_alone_needs_a_ledger_that_is_shared(tmp_path: Path, flag: str) -> None:
    async with cordboard(tmp_path, "run", flag) as process:
        code, out, err = await ended(process)

    assert (code, out) == (2, "")
    assert f"{flag} needs a ledger that several servers share: postgresql://" in err


async def test_both_sides_apart_are_nothing(tmp_path: Path) -> None:
    async with cordboard(tmp_path, "run", "--api-only", "--without-api") as process:
        assert (await ended(process))[0] == 2


async def test_an_api_alone_answers_for_all_and_takes_no_part_in_the_work(tmp_path: Path, postgres_url: str) -> None:
    ledger = await PostgresLedger.open(postgres_url, session_seconds=60.0)
    await put_work(ledger, make_command())
    async with (
        cordboard(tmp_path, "run", "--api-only", environ=sharing(postgres_url)) as process,
        aiohttp.ClientSession() as session,
    ):
        url = f"http://127.0.0.1:{(await line_with(process, 'listening'))['port']}"
        await line_with(process, "started")
        async with session.get(f"{url}/v1/commands") as answer:
            listed = await answer.json()
        async with session.get(f"{url}/readyz") as ready, session.get(f"{url}/livez") as live:
            assert (ready.status, live.status) == (200, 200)
        process.terminate()
        assert (await ended(process))[0] == 0
    fleet = await ledger.keep_session(await ledger.open_session("only", 0.0))
    await ledger.close()

    assert [command["id"] for command in listed["items"]] == [make_command().id]
    assert fleet == 1, "an API alone has no session"


async def test_a_worker_without_api_works_and_tells_how_it_is_and_nothing_else(
    tmp_path: Path, postgres_url: str
) -> None:
    async with (
        cordboard(tmp_path, "run", "--without-api", environ=sharing(postgres_url)) as process,
        aiohttp.ClientSession() as session,
    ):
        url = f"http://127.0.0.1:{(await line_with(process, 'listening'))['port']}"
        await line_with(process, "started")
        told = {
            path: await _status(session, url + path) for path in ("/livez", "/metrics", "/v1/commands", "/openapi.json")
        }
        process.terminate()
        assert (await ended(process))[0] == 0

    assert told == {"/livez": 200, "/metrics": 200, "/v1/commands": 404, "/openapi.json": 404}


async def _status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        return answer.status


async def test_a_database_that_is_away_at_start_is_waited_for(tmp_path: Path, own_postgres: PostgresServer) -> None:
    url = own_postgres.url(own_postgres.create_database())
    own_postgres.stop()
    async with cordboard(tmp_path, "run", environ=sharing(url)) as process, aiohttp.ClientSession() as session:
        api = f"http://127.0.0.1:{(await line_with(process, 'listening'))['port']}"
        async with session.get(f"{api}/readyz") as answer:
            assert (answer.status, "ledger" in (await answer.json())["detail"]) == (503, True)
        own_postgres.start()
        await line_with(process, "started")
        process.terminate()
        assert (await ended(process))[0] == 0


async def test_migrate_and_check_speak_of_the_database_and_never_of_its_password(
    tmp_path: Path, postgres_url: str
) -> None:
    environ = sharing(postgres_url)
    async with cordboard(tmp_path, "migrate", "--output", "json", environ=environ) as process:
        code, out, err = await ended(process)
    assert (code, json.loads(out)[0]["name"]) == (0, "first_schema")
    async with cordboard(tmp_path, "check", "--output", "json", environ=environ) as process:
        _, out, more = await ended(process)

    (found,) = [finding for finding in json.loads(out) if finding["part"] == "ledger"]
    assert found["verdict"] == "ok"
    assert found["found"].startswith("PostgreSQL at 127.0.0.1")
    assert environ["CORDBOARD_LEDGER_PASSWORD"] not in err + more + out


async def test_a_wrong_password_is_told_without_any(tmp_path: Path, postgres_url: str) -> None:
    environ = {**sharing(postgres_url), "CORDBOARD_LEDGER_PASSWORD": "FAKE-wrong-password"}
    async with cordboard(tmp_path, "migrate", "--status", environ=environ) as process:
        code, out, err = await ended(process)

    assert code == 6
    assert "password authentication failed" in err
    assert "FAKE-wrong-password" not in out + err
