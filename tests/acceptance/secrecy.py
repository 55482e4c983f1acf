"""Where a secret could stand after a run: every sink as bytes, searched for every spelling of it."""

import base64
import json
import subprocess
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from tests.acceptance.scene import Scene
from tests.postgres.host import programs

QUESTIONS = (
    *("/metrics", "/readyz?verbose", "/openapi.json", "/v1/commands?limit=200", "/v1/plans?limit=200", "/v1/events"),
    *("/v1/failures", "/v1/forecast", "/v1/quotas", "/v1/holds", "/v1/dead-letters", "/v1/acts", "/v1/replays"),
)


def spellings(secret: str) -> set[bytes]:
    """A secret as it may stand among other bytes: itself, escaped, as hex, in a URL, in Base64 at any offset."""
    plain = secret.encode()
    escaped = {quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), plain.hex().encode()}
    return {plain, *escaped, plain.hex().upper().encode(), plain[::-1], *_base64_of(plain)}


def _base64_of(plain: bytes) -> Iterable[bytes]:
    """What Base64 makes of it behind 0, 1 or 2 other bytes, without the characters that those have a share in."""
    for before, lost in ((0, 0), (1, 2), (2, 3)):
        whole = (before + len(plain)) // 3 * 4
        for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
            yield alphabet(b"\0" * before + plain)[lost:whole]


def sinks(scene: Scene) -> dict[str, bytes]:
    """What the processes of a scene have left behind: topics, log and the ledger's files with their journals."""
    topics = [
        part
        for message in scene.messages
        for part in (message.key, message.value, *(value for _, value in message.headers))
    ]
    left = {
        "topics": b"\n".join(part for part in topics if part is not None),
        "log": scene.log_text.encode(),
        "ledger": b"".join(path.read_bytes() for path in scene.ledger_files),
    }
    return {name: content for name, content in left.items() if name != "ledger" or not scene.database}


def dump(url: str) -> bytes:
    """Everything a PostgreSQL database holds, as `pg_dump` writes it: binary values are hex."""
    return subprocess.run(  # noqa: S603 - PostgreSQL's own program
        [programs() / "pg_dump", "--inserts", url], check=True, capture_output=True
    ).stdout


async def pages(scene: Scene, *more: str) -> dict[str, bytes]:
    """What the HTTP API says to every question, and to what is asked about each command and plan."""
    commands = [command["id"] for command in await scene.commands()]
    plans = list(scene.plan_ends())
    paths = [*QUESTIONS, *(f"/v1/commands/{one}" for one in commands), *(f"/v1/plans/{one}" for one in plans), *more]
    answers = {path: await scene.get(path) for path in paths}
    refused = {path: status for path, (status, _) in answers.items() if status != 200}
    assert refused == {}, refused
    return {path: body for path, (_, body) in answers.items()}


def leaks(sinks: Mapping[str, bytes], needles: Iterable[bytes]) -> set[str]:
    """The sinks that one of the needles stands in. An empty sink proves nothing."""
    assert all(sinks.values()), f"empty: {[name for name, content in sinks.items() if not content]}"
    wanted = list(needles)
    assert wanted, "nothing to look for"
    return {name for name, content in sinks.items() if any(needle in content for needle in wanted)}
