"""The bill of materials names every package with hash and licence, and refuses what may not be shipped."""

import json
import re
from typing import Any

import pytest

from tests.checks.sbom import LOCK, ROOT, Package, as_spdx, bill, faults, is_allowed, packages

HASH = "0" * 64
PROJECT = {"name": "cordboard", "version": "0.1.0", "license": "Apache-2.0"}


def package(**fields: Any) -> Package:
    return Package(**{"name": "thing", "version": "1.0", "hashes": (HASH,), "licence": "MIT", **fields})


def test_every_locked_package_is_in_the_bill_with_its_hashes_and_licence() -> None:
    text = (ROOT / LOCK).read_text()
    document = json.loads(bill(packages(text), PROJECT))

    components = {component["name"]: component for component in document["components"]}

    assert len(components) == len(re.findall(r"^[a-z]\S+==", text, re.MULTILINE))
    assert components["aiohttp"]["purl"].startswith("pkg:pypi/aiohttp@")
    assert components["aiohttp"]["licenses"] == [{"expression": "Apache-2.0 AND MIT"}]
    assert all(component["hashes"] and component["licenses"] for component in components.values())
    assert sum(len(component["hashes"]) for component in components.values()) == text.count("--hash=sha256:")


def test_what_needs_what_is_in_the_bill() -> None:
    document = json.loads(bill([package(needs=frozenset({"other"})), package(name="other")], PROJECT))
    assert {"ref": "thing@1.0", "dependsOn": ["other@1.0"]} in document["dependencies"]


def test_the_same_lock_gives_the_same_bill() -> None:
    found = [package()]
    one, other = (json.loads(bill(found, PROJECT)) for _ in range(2))
    assert {**one, "metadata": None} == {**other, "metadata": None}


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"hashes": ()}, "thing: no hash"),
        ({"licence": None}, "thing: its licence is not known; see SPELLINGS and ELSEWHERE"),
        ({"licence": "GPL-3.0-only"}, "thing: GPL-3.0-only is not among the licences that may be shipped"),
        (
            {"licence": "MIT AND AGPL-3.0-only"},
            "thing: MIT AND AGPL-3.0-only is not among the licences that may be shipped",
        ),
    ],
)
def test_a_package_that_may_not_be_shipped_is_a_fault(fields: dict[str, Any], fault: str) -> None:
    assert list(faults([package(), package(**fields)])) == [fault]


def test_an_empty_lock_shows_nothing() -> None:
    assert list(faults([])) == ["the lock holds no package, so nothing was shown"]


@pytest.mark.parametrize("expression", ["MIT", "MIT OR GPL-3.0-only", "MPL-2.0 AND (Apache-2.0 OR MIT)"])
def test_a_licence_is_allowed_if_one_of_its_alternatives_is(expression: str) -> None:
    assert is_allowed(expression)


@pytest.mark.parametrize(
    "expression", ["GPL-2.0-only", "MIT AND GPL-2.0-only", "GPL-2.0-only WITH Classpath-exception-2.0"]
)
def test_a_licence_with_a_condition_that_is_not_allowed_is_not(expression: str) -> None:
    assert not is_allowed(expression)


@pytest.mark.parametrize(
    ("text", "expression"),
    [("MIT", "MIT"), ("Apache 2.0", "Apache-2.0"), ("mit or apache-2.0", "MIT OR Apache-2.0"), ("Dual License", None)],
)
def test_licences_are_told_by_their_spdx_names(text: str, expression: str | None) -> None:
    assert as_spdx(text) == expression


def test_a_package_of_another_version_than_the_locks_has_no_known_licence() -> None:
    (found,) = packages(f"aiohttp==0.0.1 \\\n    --hash=sha256:{HASH}\n")
    assert found.licence is None
