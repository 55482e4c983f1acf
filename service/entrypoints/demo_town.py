"""The demo's town: the sandbox with its faults, settings that point at it, and the CRM clerk who passes verdicts on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from service.entrypoints.demo_day import DayRecord, number_verdict
from service.sandbox.configuration import HuaweiTenant, SandboxConfiguration, TencentAccount
from service.sandbox.faults import rules_from_json
from service.sandbox.server import RunningSandbox
from service.settings import Settings

APP: Final = 1400000000
SECRET_ID, SECRET_KEY = "AKIDFAKE-demo", "FAKE-demo-secret-key"
APP_KEY, APP_SECRET = "FAKE-demo-app-key", "FAKE-demo-app-secret"
TAKEN_EXTENSION: Final = "10004"
LOST_REPLY_EXTENSION: Final = "10007"
NO_SEAT_EXTENSIONS: Final = "1005[5-9]"
NO_SEAT: Final = "LimitExceeded.Seat"

SANDBOX: Final = SandboxConfiguration(
    tencent=(TencentAccount(secret_id=SECRET_ID, secret_key=SECRET_KEY, sdk_app_ids=(APP,)),),
    huawei=(HuaweiTenant(app_key=APP_KEY, app_secret=APP_SECRET),),
    approval_seconds=4.0,
)

FAULTS: Final = (
    {"kind": "throttle", "action": "CreateExtension", "count": 2, "skip": 5},
    {"kind": "http_before", "action": "DescribeExtensions", "count": 1, "skip": 1},
    {"kind": "expired_token", "action": "createCalledRoute", "count": 1, "skip": 2},
    {"kind": "reply_lost_after", "action": "CreateExtension", "match": f"*/{LOST_REPLY_EXTENSION}", "count": 1},
    {"kind": "dberror_before", "action": "CreateOwnNumberApply", "count": 1, "skip": 3},
    {"kind": "error_before", "action": "CreateExtension", "match": f"*/{NO_SEAT_EXTENSIONS}", "code": NO_SEAT},
)
FAULTS_TOLD: Final = (
    "2 requests throttled, 1 read answered with 502, 1 token expired early, 1 reply lost after the vendor had done it, "
    "1 database error on a number's form, 1 extension taken by somebody else, and no seats for the last hires"
)


def demo_settings(*, brokers: str, sandbox_url: str, folder: Path, port: int) -> Settings:
    """Settings of the demo: everything on this machine, keys that open nothing."""
    return Settings.model_validate(
        {
            "kafka": {"bootstrap_servers": brokers, "group_id": "cordboard-demo"},
            "ledger": f"sqlite:///{folder}/demo.db",
            "http": {"port": port},
            "defaults": {
                "hr.events": {"account": "acme_cn", "realm": "workday"},
                "crm.events": {"account": "acme_cn"},
            },
            "timing": {"approval_poll_seconds": 2.0},
            "log": {"level": "warning"},
            "accounts": {
                "acme_cn": {
                    "vendor": "tencent_ccc",
                    "base_url": sandbox_url,
                    "sdk_app_id": APP,
                    "secret_id": SECRET_ID,
                    "secret_key": SECRET_KEY,
                    "numbers": {
                        "sip_trunk_id": 12,
                        "call_type": "both",
                        "max_calls_per_second": 2,
                        "callback_url": "https://calls.acme.example/in",
                    },
                },
                "acme_hw": {
                    "vendor": "huawei_aicc",
                    "base_url": sandbox_url,
                    "app_key": APP_KEY,
                    "app_secret": APP_SECRET,
                },
            },
        }
    )


def seed_town(sandbox: RunningSandbox) -> None:
    """Somebody has used the vendor's console before us, and the vendor has a bad day."""
    stranger = {
        "SdkAppId": APP,
        "ExtensionId": TAKEN_EXTENSION,
        "ExtensionName": "Front desk",
        "Relation": "front.desk@acme.example",
    }
    sandbox.administration.console("tencent_ccc", SECRET_ID, "CreateExtension", stranger)
    sandbox.faults.replace(rules_from_json(list(FAULTS)))


async def crm_clerk(
    sandbox: RunningSandbox,
    approve: Sequence[str],
    refuse: Sequence[str],
    produce: Callable[[DayRecord], Awaitable[None]],
) -> None:
    """As soon as a number's form is with the vendor, its review ends and CRM says how."""
    waiting = {_stored(number): (number, "approve") for number in approve}
    waiting |= {_stored(number): (number, "refuse") for number in refuse}
    seen = 0
    while waiting:
        for entry in sandbox.journal.after(seen):
            seen = entry.seq
            key = (entry.natural_key or "").rpartition("/")[2]
            if entry.effect == "applied" and key in waiting:
                number, verdict = waiting.pop(key)
                apply_id = sandbox.administration.decide(
                    "approve" if verdict == "approve" else "refuse", APP, number=key
                )
                said = "approved" if verdict == "approve" else "refused"
                await produce(number_verdict(said, number, apply_id, entry.seq))
        await asyncio.sleep(0.05)


def _stored(number: str) -> str:
    """+8610… as the vendor stores it: 0086 and the national number with its 0."""
    return "00860" + number.removeprefix("+86")
