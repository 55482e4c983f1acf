"""Settings of one account that are more than a value: where passwords go, and which callback URLs are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from service.settings import Faults, Settings, load_settings
from tests.sealed_credentials import Receiver

KEY_FILE = "accounts.acme_cn.credentials.public_key_file"
SECRET = {"CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY": "FAKE-secret-key"}
TENCENT = {"vendor": "tencent_ccc", "sdk_app_id": 1400000000, "secret_id": "AKIDFAKE"}


def load(folder: Path, **of_account: object) -> Settings | Faults:
    path = folder / "cordboard.yaml"
    path.write_text(yaml.safe_dump({"accounts": {"acme_cn": TENCENT | of_account}}))
    return load_settings(path, SECRET)


def faults(folder: Path, **of_account: object) -> dict[str, str]:
    loaded = load(folder, **of_account)
    assert isinstance(loaded, Faults)
    return {fault.path: fault.message for fault in loaded}


def test_passwords_are_sealed_to_a_public_key(tmp_path: Path) -> None:
    key = Receiver.with_ec().publish(tmp_path)
    loaded = load(tmp_path, credentials={"mode": "sealed", "public_key_file": key})
    assert isinstance(loaded, Settings)
    policy = loaded.accounts["acme_cn"].credentials
    assert (policy.mode, policy.public_key_file) == ("sealed", key)


def test_key_file_is_read_at_the_start_and_a_private_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    sealed = {"mode": "sealed", "public_key_file": str(file)}
    assert faults(tmp_path, credentials=sealed) == {KEY_FILE: "no such file"}
    private = Receiver.with_ec().private_pem
    file.write_text(private)
    (message,) = faults(tmp_path, credentials=sealed).values()
    assert message.startswith("holds a private key")
    assert private.splitlines()[1] not in message


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"mode": "sealed"}, "sealed needs public_key_file"),
        ({"mode": "open"}, "must be 'none' or 'sealed'"),
    ],
)
def test_sealing_and_its_key_go_together(tmp_path: Path, policy: dict[str, str], message: str) -> None:
    assert message in str(list(faults(tmp_path, credentials=policy).values()))


def test_key_without_sealing_is_told(tmp_path: Path) -> None:
    key = Receiver.with_ec().publish(tmp_path)
    (message,) = faults(tmp_path, credentials={"public_key_file": key}).values()
    assert message == "public_key_file is for mode: sealed; with none, passwords are dropped"


def test_accounts_callback_url_must_be_public_unless_allowed(tmp_path: Path) -> None:
    numbers = {"callback_url": "https://10.0.0.7/FAKE-word"}
    assert faults(tmp_path, numbers=numbers) == {
        "accounts.acme_cn.numbers.callback_url": "its host is private; numbers.allow_private_callbacks allows it"
    }
    assert isinstance(load(tmp_path, numbers={**numbers, "allow_private_callbacks": True}), Settings)
