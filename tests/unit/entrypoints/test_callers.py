"""Tokens: each is its holder's, and looking for one never tells how near it was."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from service.entrypoints import callers
from service.entrypoints.callers import Caller, Tokens, token_hash
from service.settings_sections import Role, TokenSettings

HELD = {f"holder-{number}": f"cord_FAKE-{number}" for number in range(5)}


def tokens() -> Tokens:
    return Tokens({n: TokenSettings(role=Role.VIEWER, sha256=token_hash(token)) for n, token in HELD.items()})


@pytest.mark.parametrize("name", HELD)
def test_a_token_is_its_holders(name: str) -> None:
    assert tokens().caller(HELD[name]) == Caller(name, Role.VIEWER)


@pytest.mark.parametrize("token", ["", "cord_FAKE-", "cord_FAKE-9", token_hash("cord_FAKE-0")])
def test_what_nobody_holds_is_nobodys(token: str) -> None:
    assert tokens().caller(token) is None


@pytest.mark.parametrize("token", [*HELD.values(), "cord_FAKE-none"])
def test_every_token_is_compared_whosever_it_is(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    compared: list[str] = []

    def counting(known: str, given: str) -> bool:
        compared.append(known)
        return hmac.compare_digest(known, given)

    monkeypatch.setattr(callers, "hmac", type("Counting", (), {"compare_digest": staticmethod(counting)}))
    tokens().caller(token)
    assert compared == [token_hash(held) for held in HELD.values()]


def test_the_hash_is_sha256() -> None:
    assert token_hash("cord_FAKE") == hashlib.sha256(b"cord_FAKE").hexdigest()


def test_a_viewer_looks_and_an_operator_does_both() -> None:
    viewer, operator = Caller("eve", Role.VIEWER), Caller("otto", Role.OPERATOR)
    assert (viewer.may(Role.VIEWER), viewer.may(Role.OPERATOR)) == (True, False)
    assert (operator.may(Role.VIEWER), operator.may(Role.OPERATOR)) == (True, True)


def test_only_without_any_token_nobody_is_asked() -> None:
    assert Tokens({}).off
    assert not tokens().off
