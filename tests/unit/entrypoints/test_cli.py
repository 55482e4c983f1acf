"""The command line: exit codes, what goes where, and no secret on any way out."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from typer.testing import CliRunner, Result

from service.adapters.ledger_sqlite import file as ledger
from service.adapters.ledger_sqlite.file import FileLock
from service.entrypoints import cli
from service.entrypoints.callers import token_hash
from service.entrypoints.cli import app
from service.settings import Settings, load_settings
from service.settings_sections import Role

CANARY = "FAKE-canary-on-a-terminal"
COMMANDS = [
    "run",
    "demo",
    "sandbox",
    "check",
    "health",
    "migrate",
    "topics",
    "plan",
    "token",
    "list",
    "show",
    "contracts",
]
ACCOUNTS = {
    "CORDBOARD_ACCOUNTS": json.dumps(
        {"acme_cn": {"vendor": "tencent_ccc", "sdk_app_id": 1400000000, "secret_id": "AKIDFAKE", "secret_key": CANARY}}
    ),
    "CORDBOARD_DEFAULTS__HR_EVENTS__ACCOUNT": "acme_cn",
    "CORDBOARD_DEFAULTS__CRM_EVENTS__ACCOUNT": "acme_cn",
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A folder and an environment of the test's own; logging as it was."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions, sys.excepthook
    levels = {name: logging.getLogger(name).level for name in ("aiokafka", "aiohttp.access", "kafka", "asyncio")}
    yield
    root.handlers[:], level, logging.raiseExceptions, sys.excepthook = before
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def run(*arguments: str, stdin: str | None = None, **environ: str) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin, env=environ)


# --- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_an_example(command: str) -> None:
    result = run(command, "--help", COLUMNS="200")
    assert result.exit_code == 0
    assert f"Example: cordboard {command}" in result.stdout


def test_the_help_lists_every_command_and_the_exit_codes() -> None:
    result = run("--help", COLUMNS="300")
    assert [command for command in COMMANDS if command not in result.stdout] == []
    for meaning in ("0 done", "1 failed", "2 usage", "3 not found", "4 partly failed", "5 refused", "6 unreachable"):
        assert meaning in result.stdout


def test_the_version_is_said() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout.split()[0]) == (0, "cordboard")


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["list", "--limit", "0"], ["list", "--limit", "201"], ["show"], ["run", "x"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["run"], ["check"], ["health"], ["migrate"], ["topics"], ["plan", "-"], ["list"], ["show", "x"]]
)
def test_broken_configuration_ends_with_2_tells_all_and_starts_nothing(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(
        f"ledger: mysql://{CANARY}\nhttp: {{port: {CANARY}}}\nkafka: {{password: {CANARY}}}"
    )
    result = run(*command, "--config", "broken.yaml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "3 faults; nothing was started" in result.stderr
    for path in ("ledger: ", "http.port: ", "kafka.password: "):
        assert path in result.stderr
    assert CANARY not in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.yaml"]


def test_the_configuration_file_may_come_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("ledger: nonsense")
    assert "ledger: must be" in run("migrate", CORDBOARD_CONFIG="c.yaml").stderr


def test_running_without_any_account_is_refused_as_broken() -> None:
    result = run("run")
    assert result.exit_code == 2
    assert "accounts: none is configured" in result.stderr


# --- migrate --------------------------------------------------------------------------------------------------------


def test_migrate_applies_once_and_status_makes_no_file(tmp_path: Path) -> None:
    before = json.loads(run("migrate", "--status", "--output", "json").stdout)
    assert {row["applied_at"] for row in before} == {None}
    assert not (tmp_path / "cordboard.db").exists()
    assert "applied" in run("migrate").stderr
    assert "nothing to apply" in run("migrate").stderr
    after = json.loads(run("migrate", "--status", "-o", "json").stdout)
    assert None not in {row["applied_at"] for row in after}


def test_migrate_beside_a_running_server_is_refused_with_5(tmp_path: Path) -> None:
    ledger.migrate(tmp_path / "cordboard.db")
    lock = FileLock(tmp_path / "cordboard.db")
    try:
        result = run("migrate")
    finally:
        lock.release()
    assert result.exit_code == 5
    assert "is open in process" in result.stderr


def test_migrate_where_no_file_can_be_ends_with_6() -> None:
    assert run("migrate", CORDBOARD_LEDGER="sqlite:////nowhere/at/all.db").exit_code == 6


# --- topics and contracts -------------------------------------------------------------------------------------------


def test_topics_prints_the_whole_manifest_and_makes_nothing() -> None:
    result = run("topics", "--partitions", "12", "--replication-factor", "3", "--output", "json")
    topics = {topic["name"]: topic for topic in json.loads(result.stdout)}
    assert result.exit_code == 0
    assert topics.keys() == {
        "hr.events",
        "crm.events",
        "provisioning.results",
        "provisioning.failures",
        "dlq.hr.events",
        "dlq.crm.events",
    }
    assert {(topic["partitions"], topic["replication_factor"]) for topic in topics.values()} == {(12, 3)}
    dead = topics["dlq.hr.events"]["settings"]
    assert (dead["max.message.bytes"], dead["retention.ms"]) == ("2097152", "2592000000")
    assert dead["min.insync.replicas"] == "2"


def test_topics_without_a_broker_end_with_6() -> None:
    result = run("topics", "--create", CORDBOARD_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert result.exit_code == 6
    assert "127.0.0.1:1" in result.stderr


def test_contracts_list_every_type_with_its_topic() -> None:
    rows = {row["type"]: row for row in json.loads(run("contracts", "-o", "json").stdout)}
    assert (rows["hr.agent.hired.v1"]["direction"], rows["hr.agent.hired.v1"]["topic"]) == ("read", "hr.events")
    assert rows["provisioning.plan.failed.v1"]["topic"] == "provisioning.failures"


def test_contracts_are_checked_and_exported(tmp_path: Path) -> None:
    assert run("contracts", "--check").exit_code == 0
    assert run("contracts", "--export", "out").exit_code == 0
    assert (tmp_path / "out" / "asyncapi.yaml").is_file()
    assert run("contracts", "--export", "out").exit_code == 0
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    assert run("contracts", "--export", "full").exit_code == 5


# --- token ----------------------------------------------------------------------------------------------------------


def test_a_new_token_is_printed_once_and_its_settings_beside_it(tmp_path: Path) -> None:
    result = run("token", "alice", "--role", "operator")
    (token,) = result.stdout.splitlines()
    assert re.fullmatch(r"cord_[A-Za-z0-9_-]{43}", token)
    settings = yaml.safe_load(result.stderr.partition("\n")[2])
    assert settings == {"http": {"tokens": {"alice": {"role": "operator", "sha256": token_hash(token)}}}}
    assert token not in result.stderr
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings))
    assert isinstance(load_settings(tmp_path / "c.yaml", {}), Settings)


def test_a_new_token_as_json_has_its_hash_with_it() -> None:
    made = json.loads(run("token", "ci-2", "-o", "json").stdout)
    token = made["token"]
    assert made == {"name": "ci-2", "role": "viewer", "token": token, "sha256": token_hash(token)}


def test_every_role_can_be_asked_for_and_every_token_is_another() -> None:
    made = [json.loads(run("token", "a", "--role", role.value, "-o", "json").stdout) for role in Role]
    assert [one["role"] for one in made] == list(Role)
    assert len({one["token"] for one in made}) == len(made)


@pytest.mark.parametrize("name", ["Alice", "", "a b", "cordboard", "local", "a" * 65, "x: {"])
def test_a_token_for_a_name_that_the_settings_refuse_is_not_made(name: str) -> None:
    result = run("token", name)
    assert (result.exit_code, result.stdout) == (2, "")


# --- plan -----------------------------------------------------------------------------------------------------------


def hired(event_id: str = "e1", **data: Any) -> dict[str, Any]:
    person = {"agent_id": "7", "name": "Wei Chen", "extension": "1001"}
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "urn:hr",
        "type": "hr.agent.hired.v1",
        "data": {key: value for key, value in (person | data).items() if value is not None},
    }


def planned(stdin: str, code: int, **environ: str) -> list[dict[str, Any]]:
    result = run("plan", "-", "--output", "json", stdin=stdin, **{**ACCOUNTS, **environ})
    assert result.exit_code == code, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_a_hire_shows_its_plan_with_both_steps() -> None:
    (preview,) = planned(json.dumps(hired()), 0)
    assert preview["outcome"] == "plan"
    assert preview["plan_id"].startswith("plan_")
    assert (preview["subject"], preview["resource"]) == ("agent:default/7", "extension:acme_cn/1001")
    assert [step["operation"] for step in preview["steps"]] == [
        "tencent_ccc.CreateExtension",
        "tencent_ccc.DescribeExtension",
    ]
    assert preview["steps"][0]["wanted"] == {"extension": "1001", "name": "Wei Chen"}


@pytest.mark.parametrize("form", ["array", "lines", "pretty"])
def test_events_come_as_an_array_as_lines_or_alone(form: str, tmp_path: Path) -> None:
    events = [hired("e1"), hired("e2")]
    text = {
        "array": json.dumps(events),
        "lines": "\n".join(map(json.dumps, events)) + "\n\n",
        "pretty": json.dumps(events[0], indent=2),
    }
    (tmp_path / "events.json").write_text(text[form])
    result = run("plan", "events.json", "-o", "json", **ACCOUNTS)
    assert [preview["id"] for preview in json.loads(result.stdout)] == (["e1"] if form == "pretty" else ["e1", "e2"])


def test_why_an_event_makes_no_plan_is_told() -> None:
    lines = [
        hired("e1"),
        hired("e1"),
        hired("e1", name="Other"),
        hired("e2", extension=None),
        hired("e3", agent_id="8", extension=None),
        hired("e4", account="nobody"),
        hired("e5", name=None),
        hired("e6") | {"type": "other.type.v1"},
        hired("e7") | {"type": "hr.agent.hired.v9"},
        {
            "specversion": "1.0",
            "id": "e8",
            "source": "urn:crm",
            "type": "crm.number.approved.v1",
            "data": {"number": "13800138000"},
        },
    ]
    previews = planned("\n".join([*map(json.dumps, lines), '{"cut']), 4)
    assert [(preview["outcome"], preview.get("reason")) for preview in previews] == [
        ("plan", None),
        ("delivered before", None),
        ("dead letter", "id_reused"),
        ("plan", None),  # the agent's extension is known from the first event
        ("failed plan", "incomplete"),
        ("failed plan", "incomplete"),
        ("dead letter", "invalid_field"),
        ("ignored", "foreign_type"),
        ("dead letter", "unknown_version"),
        ("fact", None),
        ("dead letter", "not_json"),
    ]


def test_a_table_has_a_row_for_every_step() -> None:
    result = run("plan", "-", stdin=json.dumps(hired()), **ACCOUNTS)
    assert "tencent_ccc.CreateExtension" in result.stdout
    assert "tencent_ccc.DescribeExtension" in result.stdout
    assert "\x1b" not in result.stdout


def test_only_bad_events_end_with_1_and_no_events_with_2() -> None:
    planned(json.dumps(hired(extension=None)), 1)
    assert run("plan", "-", stdin="nothing of the kind", **ACCOUNTS).exit_code == 2
    assert run("plan", "missing.json", **ACCOUNTS).exit_code == 2


# --- the last line of defence ---------------------------------------------------------------------------------------


def test_an_unforeseen_fault_ends_with_1_and_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in ACCOUNTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["cordboard", "plan", "-"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}")))

    def broken(*_: object) -> None:
        raise RuntimeError(f"with {CANARY}")

    monkeypatch.setattr("service.entrypoints.cli_plan.show_preview", broken)
    assert cli.main() == 1
    printed = capsys.readouterr()
    assert CANARY not in printed.out + printed.err
    assert "a fault inside Cordboard" in printed.err


def test_main_gives_the_exit_code_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["cordboard", "--version"])
    assert cli.main() == 0
    monkeypatch.setattr(sys, "argv", ["cordboard", "run"])
    assert cli.main() == 2
