"""The sandbox's signature check against vectors made by the vendor's SDK and one that the vendor published."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from service.sandbox.tencent_signature import (
    Authorization,
    SignatureRefusedError,
    parse_authorization,
    signature_of,
    verify,
)

TWO = ("content-type", "host")
THREE = ("content-type", "host", "x-tc-action")
CHINA, INTERNATIONAL = "ccc.tencentcloudapi.com", "ccc.intl.tencentcloudapi.com"
OURS = "FakeSecretKeyForTestsOnly"  # FAKE


@dataclass(frozen=True, kw_only=True)
class Vector:
    name: str
    action: str
    host: str
    timestamp: int
    body: str
    signature: str
    payload_sha256: str | None = None
    signed: tuple[str, ...] = TWO
    content_type: str = "application/json"
    service: str = "ccc"
    key: str = OURS

    @property
    def headers(self) -> dict[str, str]:
        return {
            "content-type": self.content_type,
            "host": self.host,
            "x-tc-action": self.action,
            "x-tc-timestamp": str(self.timestamp),
        }

    @property
    def authorization(self) -> Authorization:
        date = datetime.fromtimestamp(self.timestamp, UTC).strftime("%Y-%m-%d")
        return Authorization(
            secret_id="AKIDFAKEFAKEFAKE",
            date=date,
            service=self.service,
            signed_headers=self.signed,
            signature=self.signature,
        )


V1 = Vector(
    name="V1",
    action="CreateExtension",
    host=CHINA,
    timestamp=1700000000,
    body='{"SdkAppId": 1400000000, "ExtensionId": "1001", "ExtensionName": "Extension 1", '
    '"SkillGroupIds": [1, 2], "Relation": "agent@example.com"}',
    payload_sha256="09593417ed7ccb5204fa9deceab76d9be59c08bb3b905bce0776d861add40604",
    signature="65f6516ed90acca65b0f64ee272cf3fa6c7a63eb26e6229bff7afa9ddf6ccb92",
)
_V5 = Vector(
    name="V5 china",
    action="CreateExtension",
    host=CHINA,
    timestamp=1700000000,
    body='{"SdkAppId":1400000000,"ExtensionId":"1001","ExtensionName":"分机1"}',
    payload_sha256="63d8f06d0b7680a3c132809e7374443cce7915729455a4526607b86e3f02f0b2",
    signature="22c59fbeec8666d2bff478fe1bae06a373fb33f2fbfdc8498fca3843699e5699",
    signed=THREE,
    content_type="application/json; charset=utf-8",
)
_V6 = Vector(
    name="V6 two headers",
    action="DescribeInstances",
    host="cvm.tencentcloudapi.com",
    timestamp=1551113065,
    body='{"Limit": 1, "Filters": [{"Values": ["\\u672a\\u547d\\u540d"], "Name": "instance-name"}]}',
    signature="72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168",
    content_type="application/json; charset=utf-8",
    service="cvm",
    key="Gu5t9xGARNpq86cd98joQYCN3EXAMPLE",
)
VECTORS = (
    V1,
    Vector(
        name="V2",
        action="CreateOwnNumberApply",
        host=INTERNATIONAL,
        timestamp=1704067199,
        body='{"SdkAppId": 1400000000, "SipTrunkId": 12, "DetailList": [{"CallType": 2, "PhoneNumber": "02012345678", '
        '"MaxCallCount": 1, "MaxCallPSec": 1}], "Prefix": "123"}',
        payload_sha256="e136454bce16dc837c8bd5c9044a03e9baa59a21c68b52d2088f748b69ef1cbf",
        signature="54e7a5ab7c47bb4b17351bcfbdaea2f9163bda1bf33709e36d9af055a4a2277f",
    ),
    Vector(
        name="V3",
        action="BindNumberCallInInterface",
        host=INTERNATIONAL,
        timestamp=1704067200,
        body='{"SdkAppId": 1400000000, "Number": "0086075586013388", '
        '"CallInInterface": {"URL": "https://callback.example.com/tccc/in"}, "NumberType": "number"}',
        payload_sha256="151873c315c437039c5196b64184685346cb4a6c83371c9ee37ce16c9a2d2a3c",
        signature="f62c15ee530f51e22b17b02ad37137f1240633988991586cf75c022ae47dea89",
    ),
    Vector(
        name="V4",
        action="DescribeExtension",
        host=CHINA,
        timestamp=1700000000,
        body='{"SdkAppId": 1400000000, "ExtensionId": "1001"}',
        payload_sha256="35a0d0b73bbc396012269418c92e5e1a894bde88e7bbe4e23ed5e18a45d581fe",
        signature="6254d2141380de677af0462ff44e2dcdf0dc6977d0f24b85d59c1fe4bf519880",
    ),
    _V5,
    replace(
        _V5,
        name="V5 international",
        host=INTERNATIONAL,
        signature="e6f0fc8585030014434858e50081dc55584efd1b2f35cd83f050a08bd30f16b8",
    ),
    _V6,
    replace(
        _V6,
        name="V6 three headers",
        signed=THREE,
        key="*" * 32,
        signature="10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f",
    ),
)


def check(vector: Vector, *, now: float | None = None) -> None:
    verify(
        vector.authorization,
        secret_key=vector.key,
        headers=vector.headers,
        body=vector.body.encode(),
        now=vector.timestamp if now is None else now,
        service=vector.service,
    )


def refusal(vector: Vector, *, now: float | None = None) -> str:
    with pytest.raises(SignatureRefusedError) as caught:
        check(vector, now=now)
    return caught.value.code


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vector_holds(vector: Vector) -> None:
    body = vector.body.encode()
    if vector.payload_sha256 is not None:
        assert hashlib.sha256(body).hexdigest() == vector.payload_sha256
    made = signature_of(
        vector.authorization, secret_key=vector.key, timestamp=vector.timestamp, headers=vector.headers, body=body
    )
    assert made == vector.signature
    check(vector)


@pytest.mark.parametrize(
    "changed",
    [
        replace(V1, body=V1.body.replace(" ", "")),
        replace(V1, host=INTERNATIONAL),
        replace(V1, content_type="application/json; charset=utf-8"),
        replace(V1, key="FakeOtherSecretKey"),
        replace(V1, timestamp=V1.timestamp + 1),
        replace(V1, signature="0" * 64),
        replace(_V5, action="ModifyExtension"),
    ],
    ids=["body", "host", "content type", "key", "timestamp", "signature", "signed action"],
)
def test_anything_signed_that_changes_breaks_the_signature(changed: Vector) -> None:
    assert refusal(changed) == "AuthFailure.SignatureFailure"


def test_unsigned_action_may_change_unnoticed_as_at_the_vendor() -> None:
    check(replace(V1, action="ModifyExtension"))


@pytest.mark.parametrize("away", [-300, 300])
def test_clock_may_be_five_minutes_away(away: int) -> None:
    check(V1, now=V1.timestamp + away)


@pytest.mark.parametrize("away", [-301, 301])
def test_clock_further_away_is_expired(away: int) -> None:
    assert refusal(V1, now=V1.timestamp + away) == "AuthFailure.SignatureExpire"


@pytest.mark.parametrize("signed", [("host",), ("content-type",), ("host", "content-type"), (*TWO, "x-absent")])
def test_signed_headers_must_be_complete_ordered_and_present(signed: tuple[str, ...]) -> None:
    assert refusal(replace(V1, signed=signed)) == "AuthFailure.SignatureFailure"


def test_scope_of_another_service_is_refused() -> None:
    with pytest.raises(SignatureRefusedError) as caught:
        verify(_V6.authorization, secret_key=_V6.key, headers=_V6.headers, body=_V6.body.encode(), now=_V6.timestamp)
    assert caught.value.code == "AuthFailure.SignatureFailure"


def test_credential_date_must_be_the_timestamps_utc_date() -> None:
    dated = replace(V1.authorization, date="2023-11-15")
    signature = signature_of(dated, secret_key=OURS, timestamp=V1.timestamp, headers=V1.headers, body=V1.body.encode())
    with pytest.raises(SignatureRefusedError, match="UTC date"):
        verify(
            replace(dated, signature=signature),
            secret_key=OURS,
            headers=V1.headers,
            body=V1.body.encode(),
            now=V1.timestamp,
        )


@pytest.mark.parametrize(
    "header", [None, "", "Bearer x", "TC3-HMAC-SHA256 Credential=a/2023-11-14/ccc/tc3_request", "TC3-HMAC-SHA1 x"]
)
def test_malformed_authorization_is_named_so(header: str | None) -> None:
    with pytest.raises(SignatureRefusedError) as caught:
        parse_authorization(header)
    assert caught.value.code == "AuthFailure.InvalidAuthorization"


@pytest.mark.parametrize(
    ("headers", "code"),
    [({}, "MissingParameter"), ({"x-tc-timestamp": "soon"}, "InvalidParameter")],
)
def test_timestamp_must_be_there_and_a_number(headers: dict[str, str], code: str) -> None:
    with pytest.raises(SignatureRefusedError) as caught:
        verify(V1.authorization, secret_key=OURS, headers=headers, body=b"", now=V1.timestamp)
    assert caught.value.code == code
