"""`run` and `sandbox` as processes of their own: what they write where, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.domain.ledger_state import Changes, Keys
from service.vendors.tencent_ccc.account import TencentCccAccount
from tests.builders import make_command, make_plan

CANARY = "FAKE-canary-in-a-process"
ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 30.0
ENVIRON = {
    "CORDBOARD_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "CORDBOARD_HTTP__PORT": "0",
    "CORDBOARD_ACCOUNTS": json.dumps(
        {
            "acme_cn": {
                "vendor": "tencent_ccc",
                "base_url": "http://127.0.0.1:1",
                "sdk_app_id": 1400000000,
                "secret_id": "AKIDFAKE",
                "secret_key": CANARY,
            }
        }
    ),
}


@asynccontextmanager
async def cordboard(folder: Path, *arguments: str, environ: Mapping[str, str] = ENVIRON) -> AsyncIterator[Process]:
    """A process of the command line; ended whatever happens."""
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", *arguments, cwd=folder, env=own, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_with(process: Process, event: str) -> dict[str, Any]:
    """The first log line that says this."""
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_SECONDS):
        while raw := await process.stdout.readline():
            line: dict[str, Any] = json.loads(raw)
            if line["event"] == event:
                return line
    raise AssertionError(f"the process ended without saying: {event}")


async def ended(process: Process) -> tuple[int, str, str]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_server_without_kafka_lives_says_what_is_away_and_stops_on_sigterm(tmp_path: Path) -> None:
    async with cordboard(tmp_path, "run") as process, aiohttp.ClientSession() as session:
        listening = await line_with(process, "listening")
        url = f"http://127.0.0.1:{listening['port']}"
        await line_with(process, "waiting for something that is away")
        async with session.get(f"{url}/livez") as response:
            assert response.status == 200
        async with session.get(f"{url}/readyz") as response:
            assert response.status == 503
            assert "kafka" in (await response.json(content_type=None))["detail"]
        async with session.get(f"{url}/metrics") as response:
            assert 'cordboard_ready{part="kafka"} 0.0' in await response.text()
        process.terminate()
        code, out, err = await ended(process)
    assert (code, err) == (0, "")
    assert [json.loads(line)["service"] for line in out.splitlines()] == ["cordboard"] * len(out.splitlines())
    assert CANARY not in out
    assert json.loads(out.splitlines()[-1])["event"] == "stopped"


async def test_a_second_server_on_one_ledger_is_refused_with_5(tmp_path: Path) -> None:
    async with cordboard(tmp_path, "run") as first:
        await line_with(first, "listening")
        async with cordboard(tmp_path, "run") as second:
            code, out, _ = await ended(second)
    assert code == 5
    assert "the ledger is held by another process" in out


async def test_a_ledger_that_is_away_at_start_is_waited_for_alive_and_not_ready(tmp_path: Path) -> None:
    environ = {**ENVIRON, "CORDBOARD_LEDGER": "sqlite:///not/there/yet/cordboard.db"}
    async with cordboard(tmp_path, "run", environ=environ) as process, aiohttp.ClientSession() as session:
        waiting = await line_with(process, "waiting for something that is away")
        assert (waiting["loop"], waiting["level"]) == ("opening", "warning")
        url = f"http://127.0.0.1:{(await line_with(process, 'listening'))['port']}"
        assert await answered(session, f"{url}/livez") == (200, "")
        assert await answered(session, f"{url}/readyz") == (503, "away: kafka, ledger")
        assert await answered(session, f"{url}/v1/commands") == (503, "ledger is away; try again")
        assert (await answered(session, f"{url}/metrics"))[0] == 200
        await line_with(process, "waiting for something that is away")
        (tmp_path / "not/there/yet").mkdir(parents=True)
        await line_with(process, "started")
        assert (await answered(session, f"{url}/v1/commands"))[0] == 200
        assert await answered(session, f"{url}/livez") == (200, "")
        process.terminate()
        code, out, err = await ended(process)
    assert (code, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["event"] == "stopped"


async def test_a_server_that_waits_for_its_ledger_stops_on_sigterm(tmp_path: Path) -> None:
    environ = {**ENVIRON, "CORDBOARD_LEDGER": "sqlite:///not/there/cordboard.db"}
    async with cordboard(tmp_path, "run", environ=environ) as process:
        await line_with(process, "listening")
        process.terminate()
        code, _, err = await ended(process)
    assert (code, err) == (0, "")


async def test_a_server_that_is_stopping_is_not_ready_and_ends_at_once_on_a_second_signal(tmp_path: Path) -> None:
    async with NeverAnswering() as vendor, aiohttp.ClientSession() as session:
        accounts = json.loads(ENVIRON["CORDBOARD_ACCOUNTS"])
        accounts["acme_cn"]["base_url"] = vendor.url
        environ = {**ENVIRON, "CORDBOARD_ACCOUNTS": json.dumps(accounts)}
        await _put_in_ledger(tmp_path / "cordboard.db")
        async with cordboard(tmp_path, "run", environ=environ) as process:
            url = f"http://127.0.0.1:{(await line_with(process, 'listening'))['port']}"
            await asyncio.wait_for(vendor.asked.wait(), DEADLINE_SECONDS)
            process.terminate()
            await line_with(process, "stopping")
            assert await answered(session, f"{url}/readyz") == (503, "stopping")
            assert (await answered(session, f"{url}/livez"))[0] == 200
            process.terminate()
            code, out, err = await ended(process)
    assert (code, err) == (1, "")
    assert json.loads(out.splitlines()[-1])["event"] == "ended at once by a second signal"


async def answered(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    """Status and the problem's detail."""
    async with session.get(url) as response:
        is_problem = response.content_type == "application/problem+json"
        return response.status, (await response.json(content_type=None))["detail"] if is_problem else ""


async def _put_in_ledger(path: Path) -> None:
    """A command that is due: the server calls its vendor at once."""
    group = TencentCccAccount.model_validate(
        {"name": "acme_cn", **json.loads(ENVIRON["CORDBOARD_ACCOUNTS"])["acme_cn"]}
    ).group()
    ledger = await SqliteLedger.open(path)
    command = make_command(quota_group=group, due_at=1.0)
    await ledger.transact(Keys(), lambda _: Changes(plans=(make_plan(),), commands=(command,)))
    await ledger.close()


class NeverAnswering:
    """A vendor that takes requests and says nothing."""

    async def __aenter__(self) -> Self:
        self.asked = asyncio.Event()
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        self.asked.set()
        await reader.read()
        writer.close()


async def test_a_port_that_is_taken_ends_with_1_and_a_sentence(tmp_path: Path) -> None:
    async with cordboard(tmp_path, "run") as first:
        port = (await line_with(first, "listening"))["port"]
        environ = {**ENVIRON, "CORDBOARD_HTTP__PORT": str(port), "CORDBOARD_LEDGER": "sqlite:///other.db"}
        async with cordboard(tmp_path, "run", environ=environ) as second:
            code, _, err = await ended(second)
    assert code == 1
    assert "can't start" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["run"], ["check"]])
async def test_broken_configuration_ends_with_2_and_starts_nothing(tmp_path: Path, arguments: list[str]) -> None:
    environ = {**ENVIRON, "CORDBOARD_LEDGER": f"mysql://{CANARY}", "CORDBOARD_HTTP__HOST": CANARY}
    async with cordboard(tmp_path, *arguments, environ=environ) as process:
        code, out, err = await ended(process)
    assert (code, out) == (2, "")
    assert "2 faults; nothing was started" in err
    assert CANARY not in err
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a test may look


async def test_the_sandbox_says_where_it_is_and_how_to_use_it(tmp_path: Path) -> None:
    async with cordboard(tmp_path, "sandbox", "--journal", "journal.jsonl", environ={}) as process:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            where = json.loads(await process.stdout.readline())
        async with aiohttp.ClientSession() as session, session.post(f"{where['base_url']}/", data=b"{}") as response:
            assert response.status == 200
        process.terminate()
        code, _, err = await ended(process)
    assert code == 0
    assert f"base_url: {where['base_url']}" in err
    assert "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY=FAKE-" in err


async def test_a_sandbox_configuration_that_is_none_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "sandbox.json").write_text('{"quota": 1}')
    async with cordboard(tmp_path, "sandbox", "--config", "sandbox.json", environ={}) as process:
        code, _, err = await ended(process)
    assert code == 2
    assert "quota" in err
