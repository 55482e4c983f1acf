"""The topics that Cordboard needs, by its settings."""

from pathlib import Path

from contracts.outbound import CREDENTIALS_TOPIC
from service.domain.account import CredentialsPolicy
from service.entrypoints.cli_topics import manifest, topic_names
from service.settings import Settings
from tests.sealed_credentials import Receiver
from tests.unit.vendors.doubles import tencent_account


def settings(policy: CredentialsPolicy) -> Settings:
    return Settings(accounts={"acme_cn": tencent_account(credentials=policy)})


def test_credentials_have_a_topic_only_where_an_account_seals_them(tmp_path: Path) -> None:
    none = topic_names(settings(CredentialsPolicy()))
    key = Receiver.with_ec().publish(tmp_path)
    sealed = topic_names(settings(CredentialsPolicy(mode="sealed", public_key_file=key)))
    assert set(sealed) - set(none) == {CREDENTIALS_TOPIC}


def test_credentials_are_compacted_and_short_lived_and_all_else_is_deleted_in_time() -> None:
    topics = manifest(["hr.events", CREDENTIALS_TOPIC, "dlq.hr.events"], partitions=3, replication_factor=3)
    settings_of = {topic.name: topic.settings for topic in topics}
    assert settings_of[CREDENTIALS_TOPIC] == {
        "cleanup.policy": "compact,delete",
        "min.insync.replicas": "2",
        "retention.ms": "604800000",
        "segment.ms": "86400000",
    }
    assert {settings_of[name]["cleanup.policy"] for name in ("hr.events", "dlq.hr.events")} == {"delete"}
