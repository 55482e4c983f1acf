"""The receiver's side of sealed credentials, written by hand from RFC 7516 and 7518: it shares nothing with sealing."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePrivateKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

CURVES: dict[str, EllipticCurve] = {"P-256": SECP256R1(), "P-384": SECP384R1(), "P-521": SECP521R1()}


@dataclass(frozen=True)
class Receiver:
    """Who has the private key."""

    key: EllipticCurvePrivateKey | RSAPrivateKey

    @classmethod
    def with_ec(cls, curve: EllipticCurve = CURVES["P-256"]) -> Self:
        return cls(generate_ec(curve))

    @classmethod
    def with_rsa(cls, bits: int = 2048) -> Self:
        return cls(generate_rsa(65537, bits))

    @property
    def public_pem(self) -> str:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def private_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def publish(self, folder: Path) -> str:
        """Write the public key to a file; its path."""
        path = folder / "phone-team.pub.pem"
        path.write_text(self.public_pem)
        path.chmod(0o644)
        return str(path)

    def open(self, jwe: str) -> dict[str, Any]:
        """What is in a compact JWE. Raises when it is not for this receiver, or not as it was sealed."""
        parts = jwe.split(".")
        header, encrypted_key, iv, ciphertext, tag = (_bytes(part) for part in parts)
        key = self._content_key(json.loads(header), encrypted_key)
        opened: dict[str, Any] = json.loads(AESGCM(key).decrypt(iv, ciphertext + tag, parts[0].encode()))
        return opened

    def _content_key(self, header: dict[str, Any], encrypted_key: bytes) -> bytes:
        assert header["enc"] == "A256GCM"
        if isinstance(self.key, RSAPrivateKey):
            assert header["alg"] == "RSA-OAEP-256"
            return self.key.decrypt(encrypted_key, OAEP(MGF1(SHA256()), SHA256(), None))
        assert header["alg"] == "ECDH-ES+A256KW"
        x, y = (int.from_bytes(_bytes(header["epk"][name])) for name in ("x", "y"))
        theirs = EllipticCurvePublicNumbers(x, y, CURVES[header["epk"]["crv"]]).public_key()
        agreed = self.key.exchange(ECDH(), theirs)
        named = b"".join(len(name).to_bytes(4) + name for name in (header["alg"].encode(), b"", b""))
        wrapping = ConcatKDFHash(SHA256(), 32, named + (256).to_bytes(4)).derive(agreed)
        return aes_key_unwrap(wrapping, encrypted_key)


def header_of(jwe: str) -> dict[str, Any]:
    """What everybody may read of a compact JWE."""
    header: dict[str, Any] = json.loads(_bytes(jwe.partition(".")[0]))
    return header


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
