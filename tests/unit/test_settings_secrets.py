"""Settings of what is secret and of who is trusted: Kafka's tokens, files for TLS, secrets that are rotated."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.adapters.kafka_tokens import FetchedTokens, GivenTokens
from service.vendors.file_secret import FileSecret
from tests.loading import CANARY, KEY, TENCENT, Loader, values

OAUTH = {"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"}
ENDPOINT = {"url": "https://login.example/token", "client_id": "cordboard"}
CLIENT_SECRET = {"CORDBOARD_KAFKA__SECURITY__OAUTH__CLIENT_SECRET": "FAKE-client-secret"}


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    return Loader(tmp_path)


def test_tokens_come_from_a_file_or_an_endpoint(load: Loader) -> None:
    by_file = load.settings({"kafka": {"security": OAUTH | {"oauth": {"token_file": load.secret_file("FAKE-token")}}}})
    assert isinstance(by_file.kafka.connection().tokens, GivenTokens)
    assert "FAKE-token" in values(by_file)
    by_endpoint = load.settings({"kafka": {"security": OAUTH | {"oauth": ENDPOINT}}}, CLIENT_SECRET)
    assert isinstance(by_endpoint.kafka.connection().tokens, FetchedTokens)
    assert "FAKE-client-secret" in values(by_endpoint)
    assert "FAKE" not in f"{by_file!r} {by_file.kafka.connection()!r} {by_endpoint.kafka.connection()!r}"


@pytest.mark.parametrize(
    ("security", "told"),
    [
        (OAUTH, "SASL_SSL with OAUTHBEARER needs oauth"),
        (OAUTH | {"oauth": {}}, "needs token_file or url, not both"),
        (OAUTH | {"oauth": {"url": "https://login.example/"}}, "url needs client_id and client_secret"),
        (OAUTH | {"oauth": ENDPOINT | {"url": f"http://login.example/{CANARY}"}}, "must be https"),
        (OAUTH | {"oauth": ENDPOINT | {"url": f"https://u:{CANARY}@login.example/"}}, "must not carry a user"),
        (OAUTH | {"oauth": ENDPOINT | {"client_secret": CANARY}}, "may not stand in this file"),
        ({"protocol": "SASL_SSL", "mechanism": "SCRAM-SHA-512"}, "needs username and password"),
    ],
)
def test_what_tokens_need_is_told(load: Loader, security: object, told: str) -> None:
    faults = load.faults({"kafka": {"security": security}})
    assert told in " ".join(faults.values())
    assert CANARY not in str(faults)


def test_a_token_file_that_everybody_can_read_is_a_fault(load: Loader) -> None:
    oauth = {"token_file": load.secret_file("FAKE-token", 0o644)}
    faults = load.faults({"kafka": {"security": OAUTH | {"oauth": oauth}}})
    assert "read by everybody" in faults["kafka.security.oauth.token_file"]


def test_files_for_tls_that_hold_something_else_are_faults(load: Loader) -> None:
    text = load.secret_file(CANARY)
    faults = load.faults({"kafka": {"security": {"protocol": "SSL", "ca_file": text}}})
    assert faults == {"kafka.security.ca_file": "the file holds no certificates in PEM"}
    faults = load.faults({"kafka": {"security": {"protocol": "SSL", "cert_file": text, "key_file": text}}})
    assert "hold no certificate in PEM with its key" in faults["kafka.security"]
    faults = load.faults({"accounts": {"acme_cn": TENCENT | {"ca_file": text}}}, KEY)
    assert faults == {"accounts.acme_cn.ca_file": "the file holds no certificates in PEM"}


@pytest.mark.parametrize("name", ["verify", "insecure", "tls_verify", "ssl", "check_hostname", "skip_verify"])
def test_verification_of_certificates_is_no_setting(load: Loader, name: str) -> None:
    faults = load.faults({"accounts": {"acme_cn": TENCENT | {name: False}}, "kafka": {"security": {name: False}}}, KEY)
    assert [fault.startswith("no such setting") for fault in faults.values()] == [True, True]


def test_a_secret_in_a_file_is_told_once_by_the_setting_that_names_it(load: Loader) -> None:
    document = {"accounts": {"acme_cn": TENCENT | {"secret_key_file": load.secret_file("FAKE-from-file")}}}
    named = [name for name, secret in load.settings(document).secrets() if isinstance(secret, FileSecret)]
    assert named == ["accounts.acme_cn.secret_key_file"]


def test_the_id_of_a_key_may_come_from_a_file_which_then_stands_for_its_quota(load: Loader) -> None:
    by_file = {k: v for k, v in TENCENT.items() if k != "secret_id"} | {"secret_id_file": load.secret_file("FAKE-id")}
    group = load.settings({"accounts": {"acme_cn": by_file}}, KEY).accounts["acme_cn"].group()
    load.secret_file("FAKE-next-id")
    assert load.settings({"accounts": {"acme_cn": by_file}}, KEY).accounts["acme_cn"].group() == group
    faults = load.faults({"accounts": {"acme_cn": by_file | {"secret_id": "AKIDFAKE"}}}, KEY)
    assert faults == {"accounts.acme_cn.secret_id": "give secret_id or secret_id_file, not both"}


def test_tokens_that_nobody_would_use_are_a_fault(load: Loader) -> None:
    security = {"mechanism": "SCRAM-SHA-512", "oauth": {"token_file": load.secret_file("FAKE-token")}}
    assert load.faults({"kafka": {"security": security}}) == {"kafka.security": "oauth is for mechanism: OAUTHBEARER"}
