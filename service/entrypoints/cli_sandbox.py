"""`cordboard sandbox`: both vendors' stand-in as a server of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import orjson

from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import say
from service.sandbox.configuration import (
    ConfigurationError,
    HuaweiTenant,
    SandboxConfiguration,
    TencentAccount,
    load_configuration,
)
from service.sandbox.server import RunningSandbox, run_sandbox

HOST: Final = "127.0.0.1"
APP: Final = 1400000000
TENCENT_ID, TENCENT_KEY = "AKIDFAKE-sandbox", "FAKE-sandbox-secret-key"
HUAWEI_KEY, HUAWEI_SECRET = "FAKE-sandbox-app-key", "FAKE-sandbox-app-secret"

TRYING: Final = SandboxConfiguration(
    tencent=(TencentAccount(secret_id=TENCENT_ID, secret_key=TENCENT_KEY, sdk_app_ids=(APP,)),),
    huawei=(HuaweiTenant(app_key=HUAWEI_KEY, app_secret=HUAWEI_SECRET),),
)
"""Keys that open nothing but this."""

HINT: Final = """Try it with a server; its YAML file:
  accounts:
    acme_cn: {{vendor: tencent_ccc, base_url: {url}, sdk_app_id: {app}, secret_id: {tencent_id}}}
    acme_hw: {{vendor: huawei_aicc, base_url: {url}, app_key: {huawei_key}}}
and its environment:
  CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY={tencent_key}
  CORDBOARD_ACCOUNTS__ACME_HW__APP_SECRET={huawei_secret}"""


def serve_sandbox(*, port: int, config: Path | None, journal: Path | None) -> ExitCode:
    """Serve until a signal comes; a port or a file that can't be had ends it with 1, a bad configuration with 2."""

    def announce(sandbox: RunningSandbox) -> None:
        line = orjson.dumps({"base_url": sandbox.base_url, "pid": os.getpid()})
        sys.stdout.write(line.decode() + "\n")
        sys.stdout.flush()
        if config is None:
            say(_hint(sandbox.base_url))

    try:
        configuration = TRYING if config is None else load_configuration(config)
        run_sandbox(HOST, port, configuration, journal_path=journal, on_ready=announce)
    except ConfigurationError as error:
        say(f"sandbox: {error}")
        return ExitCode.USAGE
    except OSError as error:
        say(f"sandbox: {error.strerror or error}")
        return ExitCode.FAILED
    return ExitCode.DONE


def _hint(url: str) -> str:
    return HINT.format(
        url=url,
        app=APP,
        tencent_id=TENCENT_ID,
        tencent_key=TENCENT_KEY,
        huawei_key=HUAWEI_KEY,
        huawei_secret=HUAWEI_SECRET,
    )
