"""A real Kafka that asks who comes: TLS with a CA of the test's own, SASL with passwords and signed tokens.

One broker has a listener for each way in, so that many tests share it.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.authority import AUDIENCE, USER, Authority
from tests.kafka.broker import KafkaBroker, java_command

PASSWORD: Final = "FAKE-sasl-password-0123456789"
SHORT_SECONDS: Final = 5.0
"""How long a connection to the listener SHORT may live; then the broker ends it at its next request."""

LISTENERS: Final[Mapping[str, str]] = {
    "MUTUAL": "SSL",
    "TOKENS": "SASL_SSL",
    "SASL": "SASL_SSL",
    "SHORT": "SASL_SSL",
    "CLEAR": "SASL_PLAINTEXT",
}
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
TOOL_SECONDS: Final = 60.0
_PACKAGE: Final = "org.apache.kafka.common.security"


def secure_kafka(folder: Path, authority: Authority) -> KafkaBroker:
    """A broker with all of `LISTENERS` beside its plain one; start it with `with`."""
    jwks = authority.jwks_file.as_uri()
    return KafkaBroker(
        folder,
        listeners=LISTENERS,
        properties={**_properties(folder, authority), "sasl.oauthbearer.jwks.endpoint.url": jwks},
        format_arguments=[
            argument
            for mechanism in MECHANISMS[1:3]
            for argument in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
        ],
        java_options=[f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={jwks}"],
    )


def set_scram_password(
    broker: KafkaBroker, password: str, *, mechanism: str = "SCRAM-SHA-512", user: str = USER
) -> None:
    """Give a SCRAM user another password, as an operator does; takes two seconds."""
    settings = f"{mechanism}=[iterations=4096,password={password}]"
    command = java_command(
        "kafka.admin.ConfigCommand",
        *("--bootstrap-server", broker.bootstrap_servers, "--alter", "--add-config", settings),
        *("--entity-type", "users", "--entity-name", user),
    )
    subprocess.run(command, check=True, capture_output=True, timeout=TOOL_SECONDS)  # noqa: S603 - our own command line


def _properties(folder: Path, authority: Authority) -> dict[str, str]:
    found = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.keystore("broker", "127.0.0.1")),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca_file),
        "connection.failed.authentication.delay.ms": "0",
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        # Kafka 4.1's own choice would be a client's validator here, which verifies neither signature nor audience
        "sasl.oauthbearer.jwt.validator.class": f"{_PACKAGE}.oauthbearer.BrokerJwtValidator",
        "sasl.oauthbearer.expected.audience": AUDIENCE,
        "listener.name.tokens.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.mutual.ssl.client.auth": "required",
    }
    for listener in ("sasl", "short", "clear", "tokens"):
        found |= _sasl(f"listener.name.{listener}")
    short = str(int(SHORT_SECONDS * 1000))
    return found | {
        f"listener.name.short.{mechanism.lower()}.connections.max.reauth.ms": short for mechanism in MECHANISMS
    }


def _sasl(listener: str) -> dict[str, str]:
    scram = f"{_PACKAGE}.scram.ScramLoginModule required;"
    return {
        f"{listener}.plain.sasl.jaas.config": f'{_PACKAGE}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
        f"{listener}.scram-sha-256.sasl.jaas.config": scram,
        f"{listener}.scram-sha-512.sasl.jaas.config": scram,
        f"{listener}.oauthbearer.sasl.jaas.config": f"{_PACKAGE}.oauthbearer.OAuthBearerLoginModule required;",
        f"{listener}.oauthbearer.sasl.server.callback.handler.class": (
            f"{_PACKAGE}.oauthbearer.OAuthBearerValidatorCallbackHandler"
        ),
    }
