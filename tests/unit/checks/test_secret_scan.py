"""The secret scan finds planted secrets of every kind, and lets marked test data pass."""

import pytest

from tests.checks.secret_scan import KNOWN_KINDS, Find, scan

# Put together here, so that this file itself holds nothing that looks like a secret.
PLANTED = {
    "private key": "-----BEGIN RSA PRIVATE " + "KEY-----",
    "Cordboard token": "cord" + "_Qm3x9-ZtV0aYp7LkW2sJ8dHfR5uNcE1bTg6iOoXyAqM",
    "age secret key": "AGE-SECRET-" + "KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
    "Tencent Cloud SecretId": "id: AK" + "IDz8krbsJ5yKBZQpn74WFkmLPx3gnPhEsb",
    "AWS access key id": "AK" + "IAQ3EGRZ5N7WXV2LTM",
    "bearer token": "authorization: Bear" + "er 9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    "JSON web token": "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "GitHub token": "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a",
    "GitLab token": "gl" + "pat-1a2B3c4D5e6F7g8H9i0J",
    "Slack token": "xo" + "xb-17653672481-19874698323",
    "PyPI token": "py" + "pi-AgEIcHlwaS5vcmcCJDU3YTE2",
    "Google API key": "AI" + "zaSyD9x8w7v6u5t4s3r2q1p0o9n8m7l6k5j4i",
    "password in an address": "postgresql://cordboard:" + "hunter2secret@db.internal/ledger",
    "assigned secret": "secret_" + 'key = "Gu5t9xGARNpq86cd98joQYCN3xYz"',
}


def test_every_kind_has_a_planted_secret() -> None:
    assert set(PLANTED) == {*KNOWN_KINDS, "assigned secret"}


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_secret_is_found_with_its_line_and_kind(kind: str) -> None:
    text = f"nothing here\n{PLANTED[kind]}\nnor here"

    assert Find(line=2, kind=kind) in set(scan(text))


@pytest.mark.parametrize("kind", PLANTED)
def test_secret_marked_as_fake_passes(kind: str) -> None:
    assert list(scan(f"{PLANTED[kind]}  # FAKE")) == []


@pytest.mark.parametrize(
    "line",
    [
        '"pass' + 'word": "q7w8E9r0t1Y2u3i4"',
        "api_" + "key: 'q7w8E9r0t1Y2u3i4'",
        "SECRET_ACCESS_" + 'KEY="q7w8E9r0t1Y2u3i4"',
        "access_to" + 'ken: str = "q7w8E9r0t1Y2u3i4"',
    ],
)
def test_random_literal_given_to_a_secret_name_is_found(line: str) -> None:
    assert [find.kind for find in scan(line)] == ["assigned secret"]


@pytest.mark.parametrize(
    "line",
    [
        'secret_key = "AKIDFAKEFAKEFAKE"',
        "secret" + '_key = "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"',
        'secret_key = "********************************"',
        'password = settings["password"]',
        "token = await self._renew(account)",
        'token_base_url="https://aicc.example.com:28070"',
        "    --hash=sha256:065665c041c42a5938ed220bdcd7230f22527fbec085e1853d2402c8a3615d9d",
        "postgresql://user:${PASSWORD}@host/ledger",
        "The header is `Authorization: Bearer <token>`.",
    ],
)
def test_placeholder_and_published_example_pass(line: str) -> None:
    assert list(scan(line)) == []


def test_find_does_not_carry_the_secret() -> None:
    (find,) = scan(PLANTED["GitHub token"])

    assert "16C7e42F" not in repr(find)
