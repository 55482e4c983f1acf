"""Sealed credentials: a SIP password leaves as a JWE (RFC 7516) that only the holder of the private key can open."""

from __future__ import annotations

import json
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from joserfc import jwe
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from contracts.outbound import SealedCredential

ENCRYPTION: Final = "A256GCM"
KEY_ALGORITHMS: Final = {"EC": "ECDH-ES+A256KW", "RSA": "RSA-OAEP-256"}
CURVES: Final = ("P-256", "P-384", "P-521")
FEWEST_RSA_BITS: Final = 2048
MOST_FILE_BYTES: Final = 64 * 1024
MOST_KID_LENGTH: Final = 256
PRIVATE_PARTS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""The members of a JWK that nobody but its owner may know (RFC 7518, sections 6.2.2, 6.3.2 and 6.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A receiver's public key: `kid` names it in what is sealed to it, `kind` says what it is to people."""

    key: ECKey | RSAKey
    algorithm: str
    kid: str
    kind: str


class SealedCredentials:
    """Seals every password to one public key. The plain text is in no file, no queue and no message, ever."""

    def __init__(self, receiver: PublicKey) -> None:
        """`receiver` is whose private key will open what is sealed."""
        self._receiver = receiver

    async def seal(self, *, subject: str, account: str, extension: str, password: str) -> str:
        """The password as a compact JWE. No two are alike, of the same password neither."""
        content = SealedCredential(subject=subject, account=account, extension=extension, password=password)
        receiver = self._receiver
        header = {
            "alg": receiver.algorithm,
            "enc": ENCRYPTION,
            "kid": receiver.kid,
            "typ": "JOSE",
            "cty": "application/json",
        }
        plain = content.model_dump_json().encode()
        return jwe.encrypt_compact(header, plain, receiver.key, algorithms=[receiver.algorithm, ENCRYPTION])


def read_public_key(path: str) -> PublicKey:
    """The public key of a PEM or JWK file. Raises ValueError, with a message that shows nothing of the file."""
    try:
        if not Path(path).is_file():
            raise ValueError("no such file")
        if Path(path).stat().st_mode & stat.S_IWOTH:  # who may put a key of theirs here reads every password
            raise ValueError("the file can be written by everybody: take others' rights away (chmod o-w)")
        with Path(path).open("rb") as file:
            content = file.read(MOST_FILE_BYTES + 1)
    except OSError:
        raise ValueError("the file can't be read") from None
    if len(content) > MOST_FILE_BYTES:
        raise _no_key()
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise _no_key() from None
    if "PRIVATE KEY" in text:
        raise _is_private()
    return _from_jwk(text) if text.startswith("{") else _from_pem(text)


def _no_key() -> ValueError:
    return ValueError("must be one public key, EC or RSA, in PEM or JWK form")


def _is_private() -> ValueError:
    return ValueError("holds a private key: it belongs to the receiver alone, put its public half here")


def _from_pem(text: str) -> PublicKey:
    if "BEGIN CERTIFICATE" in text:
        raise ValueError("holds a certificate: take its public key (openssl x509 -pubkey -noout)")
    if text.count("-----BEGIN ") != 1 or "PUBLIC KEY-----" not in text:
        raise _no_key()
    for model in (ECKey, RSAKey):
        try:
            key = _imported(model, text)
        except (JoseError, ValueError, TypeError):  # the other kind, or none at all
            continue
        return _checked(key, None)
    raise _no_key()


def _from_jwk(text: str) -> PublicKey:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise _no_key() from None
    if "keys" in given:
        raise ValueError("holds a set of keys: put one of them here")
    if PRIVATE_PARTS & given.keys():
        raise _is_private()
    kind = given.get("kty")
    if not isinstance(kind, str) or kind not in KEY_ALGORITHMS:
        raise _no_key()
    if given.get("use", "enc") != "enc":
        raise ValueError("is not for encryption: its `use` says otherwise")
    if given.get("alg", KEY_ALGORITHMS[kind]) != KEY_ALGORITHMS[kind]:
        raise ValueError(f"its `alg` is another; Cordboard seals with {KEY_ALGORITHMS[kind]} to such a key")
    names = ("kty", "crv", "x", "y") if kind == "EC" else ("kty", "n", "e")
    plain: Any = {name: given[name] for name in names if name in given}
    try:
        key = _imported(ECKey if kind == "EC" else RSAKey, plain)
    except (JoseError, ValueError, TypeError, KeyError):
        raise _no_key() from None
    return _checked(key, given.get("kid"))


def _imported(model: type[ECKey | RSAKey], value: Any) -> ECKey | RSAKey:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # a weak key is refused here, not warned of
        key = model.import_key(value)
        key.raw_value  # noqa: B018 - reads its numbers: a point that is not on its curve shows here
    return key


def _checked(key: ECKey | RSAKey, kid: object) -> PublicKey:
    """The key, if it is strong enough; without a name of its own its thumbprint names it (RFC 7638)."""
    if key.is_private:
        raise _is_private()
    if isinstance(key, ECKey):
        if key.curve_name not in CURVES:
            raise ValueError(f"its curve must be one of {', '.join(CURVES)}")
        algorithm, kind = KEY_ALGORITHMS["EC"], f"EC {key.curve_name}"
    else:
        bits = key.public_key.key_size
        if bits < FEWEST_RSA_BITS:
            raise ValueError(f"an RSA key needs at least {FEWEST_RSA_BITS} bits")
        algorithm, kind = KEY_ALGORITHMS["RSA"], f"RSA {bits}"
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MOST_KID_LENGTH and kid.isprintable()):
        raise ValueError(f"its `kid` must be 1 to {MOST_KID_LENGTH} printable characters")
    return PublicKey(key=key, algorithm=algorithm, kid=kid or key.thumbprint(), kind=kind)
