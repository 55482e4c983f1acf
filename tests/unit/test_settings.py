"""Settings: one file and the environment, every fault at once, no value in any of them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from service.domain.brake import DEFAULT_BRAKE, BrakePolicy
from service.domain.retention import DAY, RetentionPolicy
from service.settings import Faults, Settings, load_settings
from service.settings_sections import Role
from service.vendors.tencent_ccc.account import TencentCccAccount
from tests.loading import CANARY, HUAWEI, KEY, TENCENT, Loader, values


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    return Loader(tmp_path)


def test_without_a_file_everything_has_a_default() -> None:
    settings = load_settings(None, {})
    assert isinstance(settings, Settings)
    assert settings.kafka.bootstrap_servers == "127.0.0.1:9092"
    assert settings.kafka.topics == ("hr.events", "crm.events")
    assert settings.ledger_path == Path("cordboard.db")
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8080)
    assert settings.limits.max_event_bytes == 1_048_576


def test_making_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORDBOARD_LEDGER", "sqlite:///elsewhere.db")
    assert Settings().ledger == "sqlite:///cordboard.db"


def test_the_environment_wins_over_the_file(load: Loader) -> None:
    settings = load.settings(
        {"ledger": "sqlite:///a.db", "kafka": {"group_id": "one"}},
        {"CORDBOARD_LEDGER": "sqlite:////var/b.db", "CORDBOARD_KAFKA__TOPICS": "hr.events"},
    )
    assert settings.ledger_path == Path("/var/b.db")
    assert (settings.kafka.group_id, settings.kafka.topics) == ("one", ("hr.events",))


def test_an_empty_variable_counts_as_absent(load: Loader) -> None:
    assert load.settings({"ledger": "sqlite:///a.db"}, {"CORDBOARD_LEDGER": ""}).ledger == "sqlite:///a.db"


def test_an_account_is_validated_by_its_vendors_model(load: Loader) -> None:
    account = load.settings({"accounts": {"acme_cn": TENCENT}}, KEY).accounts["acme_cn"]
    assert isinstance(account, TencentCccAccount)
    assert (account.name, account.secret_key.get_secret_value()) == ("acme_cn", "FAKE-secret-key")


@pytest.mark.parametrize("secret", ["123456789", "[FAKE", "{FAKE", "true", "a,b,c", "null"])
def test_a_secret_variable_is_taken_as_it_is(load: Loader, secret: str) -> None:
    settings = load.settings({"accounts": {"acme_cn": TENCENT}}, {"CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY": secret})
    assert secret in values(settings)


def test_variables_reach_dotted_topics_and_capital_operations(load: Loader) -> None:
    settings = load.settings(
        {"accounts": {"acme_cn": TENCENT}},
        KEY
        | {
            "CORDBOARD_DEFAULTS__HR_EVENTS__REALM": "workday",
            "CORDBOARD_DEFAULTS__CRM_EVENTS__ACCOUNT": "acme_cn",
            "CORDBOARD_ACCOUNTS__ACME_CN__QUOTAS__CREATEEXTENSION": "7",
            "CORDBOARD_ACCOUNTS__ACME_CN__OWNS": "name,email",
            "CORDBOARD_ACCOUNTS__ACME_CN__NUMBERS__SIP_TRUNK_ID": "12",
        },
    )
    account = settings.accounts["acme_cn"]
    assert settings.defaults["hr.events"].realm == "workday"
    assert settings.defaults["crm.events"].account == "acme_cn"
    assert account.rate("tencent_ccc.CreateExtension") == 7
    assert (account.owns, account.numbers.sip_trunk_id) == (("name", "email"), 12)


def test_a_secret_variable_displaces_the_files_secret_file(load: Loader) -> None:
    document = {"accounts": {"acme_cn": TENCENT | {"secret_key_file": load.secret_file("FAKE-from-file")}}}
    assert "FAKE-from-file" in values(load.settings(document))
    assert "FAKE-secret-key" in values(load.settings(document, KEY))


def test_both_a_secret_and_its_file_are_a_fault(load: Loader) -> None:
    environ = KEY | {"CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY_FILE": load.secret_file("FAKE-from-file")}
    faults = load.faults({"accounts": {"acme_cn": TENCENT}}, environ)
    assert faults == {"accounts.acme_cn.secret_key": "give secret_key or secret_key_file, not both"}


def test_every_secret_is_known_to_be_hidden(load: Loader) -> None:
    security = {"protocol": "SASL_SSL", "username": "u", "password_file": load.secret_file("FAKE-sasl")}
    environ = KEY | {"CORDBOARD_ACCOUNTS__ACME_HW__APP_SECRET": "FAKE-app-secret"}
    document = {"kafka": {"security": security}, "accounts": {"acme_cn": TENCENT, "acme_hw": HUAWEI}}
    settings = load.settings(document, environ)
    assert {"FAKE-sasl", "FAKE-secret-key", "FAKE-app-secret", "FAKE-app", "AKIDFAKE"} <= values(settings)
    assert "FAKE" not in repr(settings)
    assert "FAKE" not in repr(settings.kafka.connection())
    password = settings.kafka.connection().password
    assert password is not None
    assert password.get_secret_value() == "FAKE-sasl"


def test_policies_are_built_of_what_was_set(load: Loader) -> None:
    document = {
        "accounts": {"acme_cn": TENCENT},
        "defaults": {"hr.events": {"account": "acme_cn", "realm": "workday"}},
        "timing": {"approval_poll_seconds": 7, "read_seconds": 9},
        "limits": {"max_event_bytes": 2048},
    }
    settings = load.settings(document, KEY)
    policy = settings.intake_policy()
    assert policy.planning.topic("hr.events").realm == "workday"
    assert policy.planning.accounts["acme_cn"].name == "acme_cn"
    assert (policy.max_event_bytes, policy.settling.approval_poll_seconds) == (2048, 7)
    assert settings.exchange_limits().read_seconds == 9


def test_times_of_retention_come_in_days(load: Loader) -> None:
    assert load.settings({}).retention_policy() == RetentionPolicy(finished=90 * DAY, identity=400 * DAY)
    settings = load.settings({"retention": {"finished_days": 1, "identity_days": 30}})
    assert settings.retention_policy() == RetentionPolicy(finished=DAY, identity=30 * DAY)


def test_identities_outlive_finished_work(load: Loader) -> None:
    faults = load.faults({"retention": {"finished_days": 500}})
    assert faults == {"retention": "identity_days must not be less than finished_days"}


# --- faults ---------------------------------------------------------------------------------------------------------

BROKEN = {
    "kafka": {"bootstrap_servrs": "x", "group_id": 5, "security": {"protocol": "SASL_SSL"}},
    "ledger": "postgresql://user:FAKE@host/db",
    "http": {"host": "0.0.0.0", "port": "many"},  # noqa: S104 - refused
    "defaults": {"hr.event": {"account": "acme_cm"}, "crm.events": {"relm": "x"}},
    "acounts": {},
    "accounts": {
        "acme_cn": TENCENT
        | {
            "base_url": "http://ccc.example",
            "site": "cnn",
            "time_zone": "Asia/Shangai",
            "country": "QQ",
            "quotas": {"CreateOwnNumberAply": 5},
        },
        "Acme": HUAWEI | {"app_secret_file": "/nowhere"},
        "other": {"vendor": "ringcentral"},
        "flat": "text",
    },
}
TOLD = {
    "acounts": "did you mean `accounts`",
    "accounts.Acme": "lower-case",
    "accounts.Acme.app_secret_file": "can't be read",
    "accounts.acme_cn.base_url": "must be https",
    "accounts.acme_cn.country": "no country",
    "accounts.acme_cn.quotas.CreateOwnNumberAply": "did you mean `CreateOwnNumberApply`",
    "accounts.acme_cn.secret_key": "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY",
    "accounts.acme_cn.site": "'cn' or 'intl'",
    "accounts.acme_cn.time_zone": "IANA",
    "accounts.flat": "mapping",
    "accounts.other.vendor": "tencent_ccc, huawei_aicc",
    "defaults.crm.events.relm": "did you mean `realm`",
    "defaults.hr.event": "did you mean `hr.events`",
    "defaults.hr.event.account": "did you mean `acme_cn`",
    "http.host": "loopback",
    "http.port": "valid integer",
    "kafka.bootstrap_servrs": "did you mean `bootstrap_servers`",
    "kafka.group_id": "quote it",
    "kafka.security": "needs username and password",
    "ledger": "must not carry a password",
}


def test_all_faults_are_told_at_once_each_with_its_path(load: Loader) -> None:
    faults = load.faults(BROKEN)
    assert faults.keys() == TOLD.keys()
    assert {path: message for path, message in faults.items() if TOLD[path] not in message} == {}


def _placed(document: object, canary: str) -> list[object]:
    """The document once for each of its leaves, with the canary there; and with it as a key beside each."""
    if not isinstance(document, dict):
        return [canary]
    variants: list[object] = [{**document, "surplus": canary}]
    for key, value in document.items():
        variants += [{**document, key: variant} for variant in _placed(value, canary)]
    return variants


WHOLE = {
    "kafka": {
        "bootstrap_servers": "h:1",
        "topics": ["hr.events"],
        "session_timeout_ms": 10000,
        "security": {
            "protocol": "SASL_SSL",
            "username": "u",
            "password_file": "/x",
            "ca_file": "/x",
            "password": "x",
            "oauth": {"token_file": "/x", "url": "https://x", "client_id": "x", "client_secret": "x", "scope": "x"},
        },
    },
    "ledger": "sqlite:///a.db",
    "http": {"host": "127.0.0.1", "port": 1, "tokens": {"alice": {"role": "viewer", "sha256": "0a" * 32}}},
    "defaults": {"hr.events": {"account": "acme_cn", "realm": "r"}},
    "accounts": {
        "acme_cn": TENCENT
        | {
            "secret_key": "x",
            "token": "x",
            "country": "CN",
            "numbers": {"call_type": "both", "callback_url": "https://x.example"},
            "quotas": {"default": 1},
        },
        "acme_hw": HUAWEI
        | {"app_secret": "x", "credentials": {"mode": "sealed", "public_key_file": "/x"}, "time_zone": "UTC"},
    },
    "log": {"level": "info"},
    "quota": {"margin": 0.02},
}


@pytest.mark.parametrize("variant", _placed(WHOLE, CANARY))
def test_no_fault_repeats_a_value(load: Loader, variant: object) -> None:
    loaded = load(variant)
    assert isinstance(loaded, Faults)
    assert CANARY not in "\n".join(str(fault) for fault in loaded)


@pytest.mark.parametrize(
    "name", ["KAFKA", "LEDGER", "HTTP__PORT", "ACCOUNTS", "ACCOUNTS__A__SITE", "DEFAULTS", "LEGDER"]
)
def test_no_fault_repeats_a_variables_value(load: Loader, name: str) -> None:
    faults = load.faults({}, {f"CORDBOARD_{name}": CANARY})
    assert CANARY not in str(faults)


@pytest.mark.parametrize(
    "text",
    [
        "a: *CANARY",
        "a: !CANARY x",
        "CANARY: {",
        "CANARY: 1\nCANARY: 2",
        "5: x",
        "- CANARY",
        "a: \t%CANARY",
        "a: 'CANARY",
    ],
)
def test_a_file_that_is_no_settings_is_refused_without_repeating_it(load: Loader, text: str) -> None:
    faults = load.faults(text)
    (message,) = faults.values()
    assert "CANARY" not in message


def test_a_key_given_twice_is_told_with_its_line(load: Loader) -> None:
    (message,) = load.faults("ledger: sqlite:///a\nhttp: {}\nledger: sqlite:///b\n").values()
    assert message == "line 3: a key is given twice"


def test_a_file_that_is_not_there_is_one_fault(tmp_path: Path) -> None:
    loaded = load_settings(tmp_path / "none.yaml", {})
    assert isinstance(loaded, Faults)
    assert [fault.message for fault in loaded] == ["can't be read: No such file or directory"]


@pytest.mark.parametrize(
    ("place", "variable"),
    [
        (("kafka", "security", "password"), "CORDBOARD_KAFKA__SECURITY__PASSWORD"),
        (("accounts", "acme_cn", "secret_key"), "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY"),
        (("accounts", "acme_cn", "token"), "CORDBOARD_ACCOUNTS__ACME_CN__TOKEN"),
        (("accounts", "acme_hw", "app_secret"), "CORDBOARD_ACCOUNTS__ACME_HW__APP_SECRET"),
    ],
)
def test_a_secret_in_the_file_is_a_fault_that_says_where_it_belongs(
    load: Loader, place: tuple[str, ...], variable: str
) -> None:
    document: object = CANARY
    for key in reversed(place):
        document = {key: document}
    message = load.faults(document)[".".join(place)]
    assert variable in message
    assert f"{place[-1]}_file" in message


def test_a_key_id_may_stand_in_the_file(load: Loader) -> None:
    load.settings({"accounts": {"acme_cn": TENCENT}}, KEY)


def test_a_secret_file_that_everybody_can_read_is_a_fault(load: Loader) -> None:
    document = {"accounts": {"acme_cn": TENCENT | {"secret_key_file": load.secret_file("FAKE-key", 0o644)}}}
    assert "read by everybody" in load.faults(document)["accounts.acme_cn.secret_key_file"]
    document = {"accounts": {"acme_cn": TENCENT | {"secret_key_file": load.secret_file("FAKE-key", 0o640)}}}
    load.settings(document)


def test_a_base_url_may_be_plain_http_on_loopback_only(load: Loader) -> None:
    load.settings({"accounts": {"acme_cn": TENCENT | {"base_url": "http://127.0.0.1:8085"}}}, KEY)
    document = {"accounts": {"acme_cn": TENCENT | {"base_url": "http://10.0.0.1"}}}
    assert "accounts.acme_cn.base_url" in load.faults(document, KEY)


@pytest.mark.parametrize(
    "ledger", ["cordboard.db", "sqlite://x", "sqlite:///", "sqlite:///:memory:", "mysql://x", "sqlite:///d/"]
)
def test_a_ledger_is_a_sqlite_file_or_a_postgresql_database(load: Loader, ledger: str) -> None:
    told = "must be sqlite:///path of a file, or postgresql://user@host/database"
    assert load.faults({"ledger": ledger})["ledger"] == told


@pytest.mark.parametrize(
    ("ledger", "fault"),
    [
        ("postgresql://user:FAKE@host/db", "must not carry a password: set CORDBOARD_LEDGER_PASSWORD"),
        ("postgresql://host/db?password=FAKE", "must not carry a password"),
        ("postgresql://user@host", "must be postgresql://user@host:port/database"),
        ("postgresql://user@host:none/db", "not a URL"),
    ],
)
def test_a_database_is_named_whole_and_without_its_password(load: Loader, ledger: str, fault: str) -> None:
    told = load.faults({"ledger": ledger})["ledger"]
    assert told.startswith(fault)
    assert "FAKE" not in told


def test_a_databases_password_comes_from_the_environment_or_a_file_and_is_masked(load: Loader, tmp_path: Path) -> None:
    url = "postgresql://cordboard@db.example:5432/cordboard?sslmode=verify-full"
    password = tmp_path / "password"
    password.write_text("FAKE-password\n")
    password.chmod(0o600)
    settings = load.settings({"ledger": url, "ledger_password_file": str(password)})

    assert (settings.is_shared, settings.session_seconds) == (True, 15.0)
    assert settings.ledger_password is not None
    assert settings.ledger_password.get_secret_value() == "FAKE-password"
    assert "FAKE-password" not in repr(settings)
    assert "FAKE-password" in values(settings)
    assert "may not stand in this file" in load.faults({"ledger": url, "ledger_password": "x"})["ledger_password"]


def test_only_a_database_is_shared(load: Loader) -> None:
    settings = load.settings({})

    assert (settings.is_shared, settings.session_seconds) == (False, math.inf)


# --- the HTTP API's tokens --------------------------------------------------------------------------------------------

TOKEN = {"role": "viewer", "sha256": "0a" * 32}
ANYWHERE = ["0.0.0.0", "::", "10.1.2.3", "cordboard.example"]  # noqa: S104 - refused without a token


@pytest.mark.parametrize("host", ANYWHERE)
def test_without_tokens_the_api_listens_on_loopback_only(load: Loader, host: str) -> None:
    assert "while there are no http.tokens" in load.faults({"http": {"host": host}})["http.host"]
    assert "http.host" in load.faults({"http": {"host": host, "tokens": {}}})


@pytest.mark.parametrize("host", ANYWHERE)
def test_with_a_token_the_api_listens_anywhere(load: Loader, host: str) -> None:
    assert load.settings({"http": {"host": host, "tokens": {"alice": TOKEN}}}).http.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.9"])
def test_any_loopback_name_will_do(load: Loader, host: str) -> None:
    assert load.settings({"http": {"host": host}}).http.host == host


def test_a_token_comes_from_the_environment_too(load: Loader) -> None:
    environ = {"CORDBOARD_HTTP__TOKENS__ALICE__ROLE": "operator", "CORDBOARD_HTTP__TOKENS__ALICE__SHA256": "0a" * 32}
    assert load.settings({}, environ).http.tokens["alice"].role is Role.OPERATOR


@pytest.mark.parametrize("name", ["a", "alice", "ci-2", "team.sre_1", "a" * 64])
def test_a_tokens_name_may_be(load: Loader, name: str) -> None:
    assert name in load.settings({"http": {"tokens": {name: TOKEN}}}).http.tokens


@pytest.mark.parametrize("name", ["", "Alice", "1a", "a b", "a" * 65, "ä", "a\n"])
def test_a_tokens_name_may_not_be(load: Loader, name: str) -> None:
    assert load.faults({"http": {"tokens": {name: TOKEN}}})["http.tokens.?"].startswith("a token's name is lower-case")


@pytest.mark.parametrize("name", ["cordboard", "local"])
def test_a_token_never_passes_for_an_actor_that_is_nobodys(load: Loader, name: str) -> None:
    assert "names of Cordboard's own" in load.faults({"http": {"tokens": {name: TOKEN}}})["http.tokens"]


def test_one_token_has_one_name(load: Loader) -> None:
    faults = load.faults({"http": {"tokens": {"alice": TOKEN, "bob": TOKEN}}})
    assert faults == {"http.tokens": "two names have the same token"}


@pytest.mark.parametrize(
    ("wrong", "place", "told"),
    [
        ({"sha256": "0a" * 31}, "sha256", "64 digits"),
        ({"sha256": "0A" * 32}, "sha256", "64 digits"),
        ({"role": "admin"}, "role", "'viewer' or 'operator'"),
        ({"role": None}, "role", "'viewer' or 'operator'"),
        ({"token": CANARY}, "token", "no such setting"),
        ({"token_file": "/x"}, "token_file", "no such setting"),
    ],
)
def test_of_a_token_only_role_and_hash_are_settings(
    load: Loader, wrong: Mapping[str, object], place: str, told: str
) -> None:
    faults = load.faults({"http": {"tokens": {"alice": {**TOKEN, **wrong}}}})
    assert told in faults[f"http.tokens.alice.{place}"]


def test_a_token_that_was_pasted_as_a_name_is_not_repeated(load: Loader) -> None:
    document = {"http": {"tokens": {f"cord_{CANARY}": {"token": "x", "role": "x"}}}}
    assert CANARY not in str(load.faults(document))


def test_faulty_tokens_open_nothing_and_blame_no_host(load: Loader) -> None:
    faults = load.faults({"http": {"host": "10.1.2.3", "tokens": {"alice": {"role": "viewer"}}}})
    assert faults == {"http.tokens.alice.sha256": "is needed"}


def test_a_variable_that_names_no_setting_is_a_fault(load: Loader) -> None:
    assert "names no setting" in load.faults({}, {"CORDBOARD_LEGDER": "x"})["CORDBOARD_LEGDER"]


def test_what_kubernetes_puts_into_pods_is_no_setting(load: Loader) -> None:
    names = ("CORDBOARD_SERVICE_HOST", "CORDBOARD_PORT", "CORDBOARD_PORT_8080_TCP_ADDR", "CORDBOARD_CONFIG")
    load.settings({}, dict.fromkeys(names, "x"))


def test_tls_files_that_are_not_there_are_faults(load: Loader) -> None:
    faults = load.faults({"kafka": {"security": {"protocol": "SSL", "ca_file": "/none", "key_file": "/none"}}})
    assert faults.keys() == {"kafka.security.ca_file", "kafka.security.key_file"}


def test_odd_shapes_are_faults_and_never_exceptions(load: Loader) -> None:
    odd: list[object] = [None, 5, "x", [], ["x"], {}, {"x": None}, {"x": []}, True]
    for section in ("kafka", "defaults", "accounts", "http", "ledger"):
        for shape in odd:
            load(
                {section: shape}, {"CORDBOARD_ACCOUNTS__A__QUOTAS__X": "1", "CORDBOARD_DEFAULTS__HR_EVENTS__REALM": "x"}
            )
            load({section: shape})
    for shape in odd:
        load(
            {"accounts": {"a": shape}, "defaults": {"hr.events": shape}, "kafka": {"topics": shape, "security": shape}}
        )


def test_brake_is_configured_and_its_numbers_must_fit_together(load: Loader) -> None:
    assert load.settings({}).brake_policy() == DEFAULT_BRAKE
    policy = load.settings({"brake": {"window": 20, "least": 5, "share": 1, "resume_seconds": 2}}).brake_policy()
    assert policy == BrakePolicy(window=20, least=5, share=1.0, resume_seconds=2.0)
    assert load.faults({"brake": {"window": 20}}) == {"brake": "least must not be more than window"}
    assert set(load.faults({"brake": {"share": 1.5, "least": 0}})) == {"brake.share", "brake.least"}


def test_traces_are_off_until_a_collector_is_named(load: Loader) -> None:
    assert load.settings({}).traces.otlp_endpoint is None
    named = load.settings({"traces": {"otlp_endpoint": "http://127.0.0.1:4318/"}}).traces
    assert (named.otlp_endpoint, named.sample_ratio) == ("http://127.0.0.1:4318", 1.0)


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:4318", "grpc://collector:4317", "http://", f"http://user:{CANARY}@collector:4318"]
)
def test_a_collectors_address_is_a_url_without_password(load: Loader, endpoint: str) -> None:
    faults = load.faults({"traces": {"otlp_endpoint": endpoint}})
    assert list(faults) == ["traces.otlp_endpoint"]
    assert CANARY not in str(faults)


def test_traces_without_their_extra_are_a_fault(load: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    faults = load.faults({"traces": {"otlp_endpoint": "http://127.0.0.1:4318"}})
    assert "cordboard[traces]" in faults["traces.otlp_endpoint"]


@pytest.mark.parametrize("merged", [False, True])
def test_aliases_that_stand_for_too_much_are_refused_before_they_are_written_out(load: Loader, *, merged: bool) -> None:
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, 12):
        above = [f"*a{level - 1}"] * 12
        members = f"<<: [{', '.join(above)}]" if merged else ", ".join(f"k{n}: {a}" for n, a in enumerate(above))
        lines.append(f"a{level}: &a{level} {{{members}}}")
    (message,) = load.faults("\n".join(lines)).values()
    assert message == "stands for more than 10000 values once its aliases are written out"


def test_an_alias_that_holds_itself_is_refused(load: Loader) -> None:
    (message,) = load.faults("defaults: &again {hr.events: *again}").values()
    assert message.startswith("stands for more than")


@pytest.mark.parametrize("value", ["!!timestamp soon", "!!int ''", "!!float ''", "!!bool perhaps", "!!python/none x"])
def test_nonsense_under_a_tag_is_one_fault(load: Loader, value: str) -> None:
    (message,) = load.faults(f"ledger: {value}").values()
    assert message.startswith("is not readable as YAML")


@pytest.mark.parametrize(
    ("section", "setting", "value"),
    [
        ("quarantine", "longest_probe_seconds", math.inf),
        ("timing", "read_lag_seconds", math.nan),
        ("retention", "identity_days", 10**400),
    ],
)
def test_no_figure_is_beyond_all_bounds(load: Loader, section: str, setting: str, value: float) -> None:
    assert list(load.faults({section: {setting: value}})) == [f"{section}.{setting}"]


def test_a_file_nested_without_end_is_one_fault(load: Loader) -> None:
    (message,) = load.faults("ledger: " + "[" * 5_000).values()
    assert message.startswith("is not readable as YAML")


def test_a_vendor_nested_without_end_is_no_vendor(load: Loader) -> None:
    nested = '{"vendor": ' + "[" * 1_000 + "]" * 1_000 + "}"
    faults = load.faults({}, {"CORDBOARD_ACCOUNTS__ACME_CN": nested})
    assert faults == {"accounts.acme_cn.vendor": "is needed: one of tencent_ccc, huawei_aicc"}


def test_a_path_that_no_file_can_have_is_no_such_file(load: Loader) -> None:
    sealed = {"mode": "sealed", "public_key_file": "a" * 5_000}
    account = {**TENCENT, "credentials": sealed}
    faults = load.faults({"kafka": {"security": {"ca_file": "a" * 5_000}}, "accounts": {"acme_cn": account}}, KEY)
    assert faults == {
        "kafka.security.ca_file": "no such file",
        "accounts.acme_cn.credentials.public_key_file": "the file can't be read",
    }


def test_a_collectors_address_that_cannot_be_split_is_not_repeated(load: Loader) -> None:
    faults = load.faults({"traces": {"otlp_endpoint": f"http://user:{CANARY}@h\u2100st"}})
    assert faults == {"traces.otlp_endpoint": "must be http(s)://host:port, without user, password or query"}


@pytest.mark.parametrize("rate", [math.nan, math.inf, 0, -1])
def test_a_quota_is_a_rate_that_can_be_kept(load: Loader, rate: float) -> None:
    document = {"accounts": {"acme_cn": {**TENCENT, "quotas": {"default": rate}}}}
    assert load.faults(document, KEY)["accounts.acme_cn.quotas"] == "a quota must be above 0 requests/s, and finite"
