"""A vendor's key is rotated while work waits: the next process claims that work under the new key's quota."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.adapters.metrics import MeteredTelemetry
from service.bootstrap import open_workplace
from service.domain.ledger_state import Changes, Keys
from service.settings import Settings, load_settings
from tests.builders import NOW, make_command, make_plan

SAID = "commands pay to their account's present quota group"


class Listening(MeteredTelemetry):
    """Remembers what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, dict[str, object]]] = []

    def log(self, level: str, event: str, **fields: Any) -> None:
        self.said.append((event, fields))


def settings_with(secret_id: str, folder: Path) -> Settings:
    """One account whose vendor is a port that nobody listens on."""
    environ = {
        "CORDBOARD_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
        "CORDBOARD_ACCOUNTS__ACME_CN__VENDOR": "tencent_ccc",
        "CORDBOARD_ACCOUNTS__ACME_CN__SDK_APP_ID": "1400000000",
        "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_ID": secret_id,
        "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY": "FAKE-secret-key",
    }
    loaded = load_settings(None, environ)
    assert isinstance(loaded, Settings), list(loaded)
    return loaded


@pytest.mark.parametrize(("now_used", "moved"), [("AKIDFAKE-new", [{"commands": 1}]), ("AKIDFAKE-old", [])])
async def test_work_that_waited_under_an_old_key_is_still_claimed(tmp_path: Path, now_used: str, moved: object) -> None:
    before, after = settings_with("AKIDFAKE-old", tmp_path), settings_with(now_used, tmp_path)
    waiting = make_command(quota_group=before.accounts["acme_cn"].group(), due_at=NOW - 1e9)
    ledger = await SqliteLedger.open(before.ledger_path)
    await ledger.transact(Keys(), lambda _: Changes(plans=(make_plan(),), commands=(waiting,)))
    await ledger.close()

    telemetry = Listening()
    async with open_workplace(after, telemetry) as place:
        claimed = await place.execution.run_once()
        await place.execution.drain(0.0)  # before it has asked the vendor anything

    assert claimed == 1
    assert [fields for event, fields in telemetry.said if event == SAID] == moved
