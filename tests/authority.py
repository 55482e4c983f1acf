"""Who everybody in a test trusts: certificates and tokens, made anew for each run."""

import base64
import ipaddress
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID

USER: Final = "cordboard"
AUDIENCE: Final = "kafka"


class Authority:
    """Signs certificates of servers and clients, and tokens. Files go to `folder`."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._signer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._folder = folder
        self.ca_file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))
        self.jwks_file = folder / "jwks.json"
        self.jwks_file.write_text(json.dumps({"keys": [self._public_key()]}))

    def certificate(self, name: str, *identities: str, ended: bool = False) -> tuple[Path, Path]:
        """Certificate and key files for host names or addresses; with `ended` its time is over."""
        now = datetime.now(UTC)
        leaf = self._ca.issue_cert(
            *identities,
            not_before=now - timedelta(days=2),
            not_after=now + timedelta(days=-1 if ended else 1),
        )
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        key.write_bytes(_pkcs8(leaf.private_key_pem.bytes()))
        key.chmod(0o600)
        return cert, key

    def by_itself(self, name: str, identity: str) -> tuple[Path, Path]:
        """Certificate and key files as whoever has no authority makes them: signed with the very key."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        whose = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(whose, whose, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(identity))])
        signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
        cert_file, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(_pem(key))
        return cert_file, key_file

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


def _pkcs8(pem: bytes) -> bytes:
    """The form of a private key that Java reads."""
    return _pem(serialization.load_pem_private_key(pem, password=None))


def _pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _segment(document: Mapping[str, Any]) -> str:
    return _base64(json.dumps(document).encode())


def _number(value: int) -> str:
    return _base64(value.to_bytes((value.bit_length() + 7) // 8))


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
