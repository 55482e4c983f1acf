"""A real Kafka that asks who comes: TLS with a CA of the test's own, SASL with passwords and signed tokens.

One broker has a listener for each way in, so that many tests share it. Keys and tokens are made anew for each run.
"""

import base64
import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.kafka.broker import KafkaBroker, java_command

USER: Final = "cordboard"
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
AUDIENCE: Final = "kafka"
TOOL_SECONDS: Final = 60.0
_PACKAGE: Final = "org.apache.kafka.common.security"


class Authority:
    """Who everybody here trusts: signs the broker's and clients' certificates, and tokens. Files go to `folder`."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._signer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._folder = folder
        self.ca_file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))
        self.jwks_file = folder / "jwks.json"
        self.jwks_file.write_text(json.dumps({"keys": [self._public_key()]}))

    def certificate(self, name: str, *identities: str) -> tuple[Path, Path]:
        """Certificate and key files for host names or addresses."""
        leaf = self._ca.issue_cert(*identities)
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        key.write_bytes(_pkcs8(leaf.private_key_pem.bytes()))
        key.chmod(0o600)
        return cert, key

    def keystore(self, name: str, *identities: str) -> Path:
        """Both in one file, as Kafka reads them."""
        cert, key = self.certificate(name, *identities)
        both = self._folder / f"{name}.keystore.pem"
        both.write_bytes(key.read_bytes() + cert.read_bytes())
        return both

    def token(self, *, seconds: float = 3600.0, **claims: Any) -> str:
        """A signed token (RS256) of the broker's user."""
        now = time.time()
        told = {"sub": USER, "aud": AUDIENCE, "iat": int(now) - 1, "exp": int(now + seconds), **claims}
        signed = f"{_segment({'alg': 'RS256', 'typ': 'JWT', 'kid': 'test'})}.{_segment(told)}"
        signature = self._signer.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64(signature)}"

    def _public_key(self) -> dict[str, str]:
        numbers = self._signer.public_key().public_numbers()
        return {
            "kty": "RSA",
            "kid": "test",
            "alg": "RS256",
            "use": "sig",
            "n": _number(numbers.n),
            "e": _number(numbers.e),
        }


def secure_kafka(folder: Path, authority: Authority, *, properties: Mapping[str, str] | None = None) -> KafkaBroker:
    """A broker with all of `LISTENERS` beside its plain one; start it with `with`."""
    jwks = authority.jwks_file.as_uri()
    return KafkaBroker(
        folder,
        listeners=LISTENERS,
        properties={**_properties(folder, authority), "sasl.oauthbearer.jwks.endpoint.url": jwks, **(properties or {})},
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


def _pkcs8(pem: bytes) -> bytes:
    """The form of a private key that Java reads."""
    key = serialization.load_pem_private_key(pem, password=None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _segment(document: Mapping[str, Any]) -> str:
    return _base64(json.dumps(document).encode())


def _number(value: int) -> str:
    return _base64(value.to_bytes((value.bit_length() + 7) // 8))


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
