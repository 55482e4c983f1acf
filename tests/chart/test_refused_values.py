"""Values that would not work are refused before anything is made: with the place, a reason, and no secret repeated."""

from pathlib import Path
from typing import Final

import pytest

from tests.chart.rendering import SETS, Helm

PASTED: Final = "FAKE-pasted-by-mistake"


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("one-server", "worker.replicas=2", "'/worker/replicas': value must be '1, because a SQLite ledger has one"),
        ("one-server", "worker.replicas=two", "'/worker/replicas': got string, want integer"),
        ("one-server", "workers=2", "additional properties 'workers' not allowed"),
        ("one-server", "image.pullPolicy=Sometimes", "'/image/pullPolicy': value must be one of 'Always'"),
        ("one-server", "config.kafka.bootstrap=k:1", "'/config/kafka': additional properties 'bootstrap' not allowed"),
        ("one-server", "config.http.port=http", "'/config/http/port': got string, want integer"),
        ("one-server", "config.accounts.acme_cn.vendor=acme", "'/config/accounts/acme_cn/vendor': value must be"),
        ("one-server", "config.accounts.acme_cn.sdk_app_id=null", "acme_cn/sdk_app_id': got null, want integer"),
        ("one-server", "config.log.level=loud", "'/config/log/level': value must be one of 'debug'"),
        ("one-server", f"config.accounts.acme_cn.secret_key={PASTED}", "under accounts.acme_cn.secret_key_file"),
        ("one-server", f"config.kafka.security.password={PASTED}", "security.password: a secret may not"),
        ("one-server", "config.kafka.group_instance_id=me", "the chart gives each pod its own"),
        ("one-server", "config.accounts=null", "config.accounts: none is configured"),
        ("one-server", "config.http.tokens=null", "`cordboard token NAME --role operator` makes one"),
        ("one-server", "config.http.host=127.0.0.1", "out of reach for probes"),
        ("one-server", "config.ledger=sqlite:///cordboard.db", "only that folder outlives a pod"),
        ("one-server", "config.ledger=mysql://host/db", "or postgresql://user@host/database"),
        ("fleet", f"config.ledger=postgresql://u:{PASTED}@host/db", "config.ledger: an address may not carry a"),
        ("one-server", r"files.accounts\.acme_xx\.token_file.key=k", "acme_xx.token_file': 'oneOf' failed"),
        ("one-server", r"files.accounts\.acme_cn\.token.key=k", "additional properties 'accounts.acme_cn.token'"),
        ("one-server", f"pods.env[0].name=CORDBOARD_TOKEN,pods.env[0].value={PASTED}", "pods.env.CORDBOARD_TOKEN"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_with_their_place_and_a_reason(helm: Helm, name: str, setting: str, said: str) -> None:
    refusal = helm.refusal(SETS[name], setting)
    assert said in refusal
    assert PASTED not in refusal


def test_account_that_a_file_is_for_must_be_there(helm: Helm) -> None:
    path = r"files.accounts\.acme_xx\.token_file"
    refusal = helm.refusal(SETS["one-server"], f"{path}.key=k", f"{path}.existingSecret=s")
    assert "files.accounts.acme_xx.token_file: no such account" in refusal


def test_all_that_is_missing_is_told_at_once(helm: Helm, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.yaml"
    nothing.write_text("{}")
    refusal = helm.refusal(nothing)
    assert [place in refusal for place in ("bootstrap_servers:", "config.accounts:", "config.http.tokens:")] == [
        True
    ] * 3
