"""Sealing: what is sealed opens for its receiver alone, and only a fit public key is taken."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwk
from pydantic import ValidationError

from service.adapters.credentials_sealed import SealedCredentials, read_public_key
from tests.sealed_credentials import CURVES, Receiver, header_of

WHOSE = {"subject": "agent:workday/E1", "account": "acme_cn", "extension": "1001"}
PASSWORD = "FAKE-sip-pässword-42"
EC, RSA = Receiver.with_ec(), Receiver.with_rsa()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "key"


def sealing(receiver: Receiver, key_file: Path) -> SealedCredentials:
    key_file.write_text(receiver.public_pem)
    return SealedCredentials(read_public_key(str(key_file)))


async def seal(receiver: Receiver, key_file: Path) -> str:
    return await sealing(receiver, key_file).seal(**WHOSE, password=PASSWORD)


def as_jwk(receiver: Receiver, *, private: bool = False, **more: Any) -> str:
    text = receiver.private_pem if private else receiver.public_pem
    kind = jwk.RSAKey if receiver is RSA else jwk.ECKey
    return json.dumps({**kind.import_key(text).as_dict(private=private), **more})


@pytest.mark.parametrize("receiver", [EC, RSA, *map(Receiver.with_ec, list(CURVES.values())[1:])])
async def test_what_is_sealed_is_opened_by_a_reader_of_the_standards_alone(receiver: Receiver, key_file: Path) -> None:
    sealed = await seal(receiver, key_file)
    assert receiver.open(sealed) == {**WHOSE, "password": PASSWORD}


async def test_header_names_algorithms_and_key_and_nothing_of_the_content(key_file: Path) -> None:
    header = header_of(await seal(EC, key_file))
    assert header.pop("epk")["crv"] == "P-256"
    assert header == {
        "alg": "ECDH-ES+A256KW",
        "enc": "A256GCM",
        "kid": jwk.ECKey.import_key(EC.public_pem).thumbprint(),
        "typ": "JOSE",
        "cty": "application/json",
    }
    assert header_of(await seal(RSA, key_file))["alg"] == "RSA-OAEP-256"


async def test_the_same_password_is_never_sealed_alike(key_file: Path) -> None:
    one, other = await seal(EC, key_file), await seal(EC, key_file)
    assert {*one.split(".")} & {*other.split(".")} == set()


async def test_nobody_else_opens_it_and_no_part_can_be_changed(key_file: Path) -> None:
    sealed = await seal(EC, key_file)
    with pytest.raises(InvalidUnwrap):
        Receiver.with_ec().open(sealed)
    other = (await seal(EC, key_file)).split(".")
    for nth in range(5):
        parts = sealed.split(".")
        parts[nth] = other[nth]
        with pytest.raises((InvalidTag, InvalidUnwrap)):
            EC.open(".".join(parts))


@pytest.mark.parametrize("lacking", [*WHOSE, "password"])
async def test_nothing_is_sealed_for_nobody(lacking: str, key_file: Path) -> None:
    with pytest.raises(ValidationError) as refused:
        await sealing(EC, key_file).seal(**{**WHOSE, "password": PASSWORD, lacking: ""})
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(("receiver", "kind"), [(EC, "EC P-256"), (RSA, "RSA 2048")])
def test_pem_and_jwk_of_one_key_are_the_same_key(receiver: Receiver, kind: str, key_file: Path) -> None:
    key_file.write_text(receiver.public_pem)
    pem = read_public_key(str(key_file))
    key_file.write_text(as_jwk(receiver, use="enc"))
    found = read_public_key(str(key_file))
    assert (found.kind, found.kid) == (pem.kind, pem.kid) == (kind, found.kid)
    key_file.write_text(as_jwk(receiver, kid="phones-2026", key_ops=["deriveKey", "wrapKey"]))
    assert read_public_key(str(key_file)).kid == "phones-2026"


REFUSED: dict[str, tuple[str, str]] = {
    "private PEM": (EC.private_pem, "private"),
    "private and public PEM": (EC.public_pem + EC.private_pem, "private"),
    "private JWK": (as_jwk(EC, private=True), "private"),
    "private RSA JWK": (as_jwk(RSA, private=True), "private"),
    "symmetric JWK": ('{"kty": "oct", "k": "RkFLRQ"}', "private"),
    "short RSA": (Receiver.with_rsa(1024).public_pem, "at least 2048 bits"),
    "two keys": (EC.public_pem + RSA.public_pem, "one public key"),
    "certificate": ("-----BEGIN CERTIFICATE-----\nFAKE\n-----END CERTIFICATE-----", "openssl x509"),
    "set of keys": (json.dumps({"keys": [json.loads(as_jwk(EC))]}), "set of keys"),
    "key for signatures": (as_jwk(EC, use="sig"), "not for encryption"),
    "key for another algorithm": (as_jwk(EC, alg="ECDH-ES"), "its `alg` is another"),
    "name that is none": (as_jwk(EC, kid="a\nb"), "`kid`"),
    "name that is no text": (as_jwk(EC, kid=7), "`kid`"),
    "point off its curve": (json.dumps({**json.loads(as_jwk(EC)), "y": "RkFLRQ"}), "one public key"),
    "unknown curve": (as_jwk(EC, crv="P-999"), "one public key"),
    "another kind": ('{"kty": "OKP", "crv": "Ed25519", "x": "RkFLRQ"}', "one public key"),
    "kind that is no text": ('{"kty": ["EC"]}', "one public key"),
    "no JSON": ("{", "one public key"),
    "deep JSON": ('{"a":' * 100_000, "one public key"),
    "no key": ("hello", "one public key"),
    "empty": ("", "one public key"),
    "huge": ("x" * 70_000, "one public key"),
    "PEM of nothing": ("-----BEGIN PUBLIC KEY-----\nRkFLRQ==\n-----END PUBLIC KEY-----", "one public key"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_is_no_fit_public_key_is_refused_and_shown_to_nobody(what: str, key_file: Path) -> None:
    content, reason = REFUSED[what]
    key_file.write_text(content)
    with pytest.raises(ValueError, match=reason) as refused:
        read_public_key(str(key_file))
    shown = [line for line in content.splitlines() if len(line) > 20 and line in str(refused.value)]
    assert shown == []


def test_a_key_that_everybody_could_exchange_is_refused(key_file: Path) -> None:
    key_file.write_text(EC.public_pem)
    key_file.chmod(0o646)
    with pytest.raises(ValueError, match="written by everybody"):
        read_public_key(str(key_file))


@pytest.mark.parametrize("path", ["", "nowhere", "/", "/dev/zero", "a\0b"])
def test_a_path_that_leads_to_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"no such file|null"):
        read_public_key(path)


_JWK = st.dictionaries(
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "use", "alg", "kid", "keys", "key_ops"]),
    st.sampled_from(["EC", "RSA", "P-256", "secp256k1", "AQAB", "", "é", "=", "sig"])
    | st.none()
    | st.integers()
    | st.lists(st.text(max_size=3)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | _JWK.map(lambda value: json.dumps(value).encode()))
def test_any_file_is_a_key_or_refused(content: bytes, key_file: Path) -> None:
    key_file.write_bytes(content)
    with contextlib.suppress(ValueError):
        assert read_public_key(str(key_file)).kind
