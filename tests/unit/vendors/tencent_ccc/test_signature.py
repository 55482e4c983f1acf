"""The vectors were made with the vendor's own SDK and fake keys; the last two are published by the vendor."""

import hashlib
from dataclasses import dataclass

import pytest

from service.vendors.tencent_ccc.signature import authorization, canonical_request

CN = "ccc.tencentcloudapi.com"
INTL = "ccc.intl.tencentcloudapi.com"
PLAIN = "application/json"
UTF8 = "application/json; charset=utf-8"
FAKE_ID = "AKIDFAKEFAKEFAKE"
FAKE_KEY = "FakeSecretKeyForTestsOnly"
DESCRIBE_INSTANCES = rb'{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}'
CREATE_EXTENSION = '{"SdkAppId":1400000000,"ExtensionId":"1001","ExtensionName":"分机1"}'.encode()


@dataclass(frozen=True)
class Vector:
    host: str
    timestamp: int
    body: bytes
    signature: str
    content_type: str = PLAIN
    action: str | None = None
    service: str = "ccc"
    secret_key: str = FAKE_KEY
    payload_sha256: str | None = None
    canonical_sha256: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Content-Type": self.content_type, "Host": self.host}
        return headers if self.action is None else {**headers, "X-TC-Action": self.action}


VECTORS = {
    "V1": Vector(
        CN,
        1700000000,
        b'{"SdkAppId": 1400000000, "ExtensionId": "1001", "ExtensionName": "Extension 1", "SkillGroupIds": [1, 2], '
        b'"Relation": "agent@example.com"}',
        "65f6516ed90acca65b0f64ee272cf3fa6c7a63eb26e6229bff7afa9ddf6ccb92",
        payload_sha256="09593417ed7ccb5204fa9deceab76d9be59c08bb3b905bce0776d861add40604",
        canonical_sha256="5fab9c01156a1212e65a73d6fd6df63a75b21344223cd3558d09842934c8e4ec",
    ),
    "V2 last second of a year": Vector(
        INTL,
        1704067199,
        b'{"SdkAppId": 1400000000, "SipTrunkId": 12, "DetailList": [{"CallType": 2, "PhoneNumber": "02012345678", '
        b'"MaxCallCount": 1, "MaxCallPSec": 1}], "Prefix": "123"}',
        "54e7a5ab7c47bb4b17351bcfbdaea2f9163bda1bf33709e36d9af055a4a2277f",
        payload_sha256="e136454bce16dc837c8bd5c9044a03e9baa59a21c68b52d2088f748b69ef1cbf",
        canonical_sha256="98ff08fd4d7c8cdd97f92fc946948cbc96733c18f5cc8057f4439a7f0e84115e",
    ),
    "V3 first second of the next": Vector(
        INTL,
        1704067200,
        b'{"SdkAppId": 1400000000, "Number": "0086075586013388", "CallInInterface": '
        b'{"URL": "https://callback.example.com/tccc/in"}, "NumberType": "number"}',
        "f62c15ee530f51e22b17b02ad37137f1240633988991586cf75c022ae47dea89",
        payload_sha256="151873c315c437039c5196b64184685346cb4a6c83371c9ee37ce16c9a2d2a3c",
        canonical_sha256="f0b373890a130250dd3f8c65054540455ac45ace29bf80d875dca4ba41d7c303",
    ),
    "V4": Vector(
        CN,
        1700000000,
        b'{"SdkAppId": 1400000000, "ExtensionId": "1001"}',
        "6254d2141380de677af0462ff44e2dcdf0dc6977d0f24b85d59c1fe4bf519880",
        payload_sha256="35a0d0b73bbc396012269418c92e5e1a894bde88e7bbe4e23ed5e18a45d581fe",
        canonical_sha256="b5b075eb7f6902f761ce55b1dd9bf557e9f7093ec10ceb46d86890cf4acef891",
    ),
    "V5 three headers, cn": Vector(
        CN,
        1700000000,
        CREATE_EXTENSION,
        "22c59fbeec8666d2bff478fe1bae06a373fb33f2fbfdc8498fca3843699e5699",
        content_type=UTF8,
        action="CreateExtension",
        payload_sha256="63d8f06d0b7680a3c132809e7374443cce7915729455a4526607b86e3f02f0b2",
    ),
    "V5 three headers, intl": Vector(
        INTL,
        1700000000,
        CREATE_EXTENSION,
        "e6f0fc8585030014434858e50081dc55584efd1b2f35cd83f050a08bd30f16b8",
        content_type=UTF8,
        action="CreateExtension",
    ),
    "V6 published, two headers": Vector(
        "cvm.tencentcloudapi.com",
        1551113065,
        DESCRIBE_INSTANCES,
        "72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168",
        content_type=UTF8,
        service="cvm",
        secret_key="Gu5t9xGARNpq86cd98joQYCN3EXAMPLE",
    ),
    "V6 published, three headers": Vector(
        "cvm.tencentcloudapi.com",
        1551113065,
        DESCRIBE_INSTANCES,
        "10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f",
        content_type=UTF8,
        action="DescribeInstances",
        service="cvm",
        secret_key="*" * 32,
    ),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_signature_equals_the_vendors(vector: Vector) -> None:
    value = authorization(
        secret_id=FAKE_ID,
        secret_key=vector.secret_key,
        timestamp=vector.timestamp,
        headers=vector.headers,
        body=vector.body,
        service=vector.service,
    )
    assert value.endswith(f", Signature={vector.signature}")


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_digests_on_the_way_equal_the_vendors(vector: Vector) -> None:
    canonical = canonical_request(vector.headers, vector.body)
    if vector.payload_sha256 is not None:
        assert canonical.endswith(vector.payload_sha256)
    if vector.canonical_sha256 is not None:
        assert hashlib.sha256(canonical.encode()).hexdigest() == vector.canonical_sha256


def test_scope_carries_the_utc_date_of_the_timestamp_and_the_signed_names() -> None:
    vector = VECTORS["V2 last second of a year"]
    value = authorization(
        secret_id=FAKE_ID, secret_key=FAKE_KEY, timestamp=vector.timestamp, headers=vector.headers, body=vector.body
    )
    assert value.startswith(f"TC3-HMAC-SHA256 Credential={FAKE_ID}/2023-12-31/ccc/tc3_request, ")
    assert "SignedHeaders=content-type;host," in value
