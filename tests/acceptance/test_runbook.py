"""Every command of docs/runbook.md is run as it is written, in order, against the demo that stays up."""

import asyncio
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from typer.testing import CliRunner, Result

from service.entrypoints.cli import app

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = ROOT / "docs" / "runbook.md"
COMMAND: Final = re.compile(r"^    (cordboard .+?)(?: +# .*)?$", re.MULTILINE)
STAYING, MENDED_FILE = "Staying up", "mended.json"
MENDED = {"specversion": "1.0", "id": "mended-1", "source": "/hr", "type": "hr.agent.hired.v1"}
HIRE = {"agent_id": "A9001", "name": "Mei Lin", "extension": "19001"}


@dataclass
class Reader:
    """Somebody who types what the page says, putting in for PLAN_ID and the like what was printed before."""

    port: str
    sandbox: str
    folder: Path

    def type(self, line: str) -> None:
        """Run one line; it must end well, and answer something."""
        words = [self._known(word) for word in shlex.split(line)]
        done = self.run(words[1:])
        assert done.exit_code == 0, f"$ {line}\n{done.output}"
        assert done.output.strip(), f"nothing was printed: {line}"

    def run(self, arguments: Sequence[str]) -> Result:
        environ = {"CORDBOARD_HTTP__PORT": self.port, "COLUMNS": "200"}
        known = [str(self.folder / word) if word == MENDED_FILE else word for word in arguments]
        return CliRunner().invoke(app, known, env=environ)

    def _known(self, word: str) -> str:
        return PLACEHOLDERS[word](self) if word in PLACEHOLDERS else word

    def look(self, *arguments: str) -> Any:
        """What a listing says, as JSON."""
        return json.loads(self.run([*arguments, "--output", "json"]).stdout)


def _open_letters(reader: Reader) -> list[str]:
    letters = reader.look("dead-letters", "list", "--state", "open")["items"]
    return sorted(letter["id"] for letter in letters)


PLACEHOLDERS: Final[dict[str, Callable[[Reader], str]]] = {
    "PLAN_ID": lambda r: str(r.look("list", "--plans", "--state", "failed", "--limit", "1")["items"][0]["id"]),
    "COMMAND_ID": lambda r: str(r.look("list", "--state", "in_doubt")["items"][0]["id"]),
    "REPLAY_ID": lambda r: str(r.look("replays", "list")[0]["id"]),
    "HOLD_ID": lambda r: str(r.look("holds")[0]["id"]),
    "LETTER_ID": lambda r: _open_letters(r)[0],
    "OTHER_LETTER_ID": lambda r: _open_letters(r)[-1],
}


async def test_every_command_of_the_runbook_works_as_written(tmp_path: Path) -> None:
    commands = COMMAND.findall(RUNBOOK.read_text())
    assert len(commands) >= 25
    (tmp_path / MENDED_FILE).write_text(json.dumps(MENDED | {"data": HIRE}))
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        arguments = [sys.executable, "-m", "service", "demo", "--stay"]
        demo = subprocess.Popen(arguments, stdout=out, stderr=err)  # noqa: S603, ASYNC220 - our own program
    try:
        reader = await _staying(demo, tmp_path)
        for line in commands:
            if line.startswith("cordboard replay ") and "--dry-run" not in line:
                await _buy_seats(reader)
            await asyncio.to_thread(reader.type, line)
        await _as_told(reader, tmp_path)
        for path in ("/livez", "/readyz", "/metrics"):
            assert await _status(f"http://127.0.0.1:{reader.port}{path}") == 200, path
    finally:
        demo.send_signal(signal.SIGINT)
        ended = await asyncio.to_thread(demo.wait, 20)
    assert ended in {0, 130}
    assert "Traceback" not in (tmp_path / "err").read_text()


async def _staying(demo: "subprocess.Popen[bytes]", folder: Path) -> Reader:
    async with asyncio.timeout(60):
        while STAYING not in (folder / "err").read_text():
            assert demo.poll() is None, (folder / "err").read_text()[-2000:]
            await asyncio.sleep(0.1)
    out = (folder / "out").read_text()
    port = re.search(r"CORDBOARD_HTTP__PORT=(\d+)", out)
    sandbox = re.search(r"curl -X DELETE (\S+)/_sandbox/faults", out)
    assert port is not None
    assert sandbox is not None
    return Reader(port[1], sandbox[1], folder)


async def _buy_seats(reader: Reader) -> None:
    async with aiohttp.ClientSession() as session, session.delete(f"{reader.sandbox}/_sandbox/faults") as answer:
        assert answer.status == 200


async def _status(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status


async def _as_told(reader: Reader, folder: Path) -> None:
    """What the page did has come true: seats are taken, results were told, the letters are closed."""
    left = reader.look("list", "--plans", "--state", "failed", "--code", "LimitExceeded*")["items"]
    assert left == []
    replay = reader.look("replays", "list")[0]
    assert replay["outcomes"] == {"succeeded": 5}
    async with asyncio.timeout(20):
        while True:
            if (folder / "err").read_text().count("told: plan.completed.v1") >= 5:
                break
            await asyncio.sleep(0.1)
    states = [letter["state"] for letter in reader.look("dead-letters", "list")["items"]]
    assert sorted(states) == ["discarded", "open", "resubmitted"]
    assert {act["kind"] for act in reader.look("acts")["items"]} >= {
        "replay",
        "hold",
        "release",
        "quota",
        "forget",
        "settle",
    }
