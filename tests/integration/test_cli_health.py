"""`health` against a server on a real socket: what a container's health check finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner, Result

from service.adapters.metrics import MeteredTelemetry
from service.entrypoints.callers import Tokens, token_hash
from service.entrypoints.cli import app
from service.entrypoints.http_api import build_app
from service.settings_sections import Role, TokenSettings
from tests.fakes.ledger import FakeLedger
from tests.fakes.process import FakeProcess
from tests.ports import free_ports


@dataclass
class Running:
    """A server, and the variables that make its settings."""

    process: FakeProcess
    telemetry: MeteredTelemetry
    environ: dict[str, str]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A server that asks for tokens, listening where only its settings say."""
    process, telemetry = FakeProcess(FakeLedger()), MeteredTelemetry(expected=("ledger",))
    tokens = Tokens({"alice": TokenSettings(role=Role.VIEWER, sha256=token_hash("FAKE-token"))})
    async with TestServer(build_app(process, telemetry, tokens)) as server:
        yield Running(process, telemetry, {"CORDBOARD_HTTP__PORT": str(server.port)})


async def health(*arguments: str, **environ: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["health", *arguments], env=environ)


async def test_a_server_that_makes_progress_is_healthy_though_it_is_not_ready(running: Running) -> None:
    result = await health(**running.environ)
    assert (result.exit_code, result.stdout) == (0, "alive\n")
    waits = await health("--ready", **running.environ)
    assert (waits.exit_code, waits.stdout, waits.stderr) == (6, "", "away: ledger\n")


async def test_a_server_with_all_it_needs_is_ready(running: Running) -> None:
    running.telemetry.health("ledger", ready=True)
    result = await health("--ready", **running.environ)
    assert (result.exit_code, result.stdout) == (0, "ready\n")


async def test_a_server_that_stands_still_is_not_healthy_and_the_reason_is_told(running: Running) -> None:
    running.process.standing_still = ("loop execution",)
    result = await health(**running.environ)
    assert (result.exit_code, result.stdout) == (6, "")
    assert "makes no progress" in result.stderr
    assert "loop execution" in result.stderr


async def test_where_nobody_answers_nobody_is_healthy() -> None:
    (port,) = free_ports(1)
    result = await health(CORDBOARD_HTTP__PORT=str(port))
    assert result.exit_code == 6
    assert f"no server answers at 127.0.0.1:{port}" in result.stderr
