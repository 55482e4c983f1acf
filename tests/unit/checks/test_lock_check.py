"""The lock check refuses a requirement without an exact version or without a hash."""

import pytest

from tests.checks.lock_check import unhashed_or_unpinned

HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    "requirement",
    ["aiohttp==3.14.5", "uvicorn[standard]==1.0", "colorama==0.4.6 ; sys_platform == 'win32'", "zope.interface==7.2"],
)
def test_pinned_and_hashed_requirement_passes(requirement: str) -> None:
    assert unhashed_or_unpinned(f"# comment\n{requirement} \\\n    {HASH} \\\n    {HASH}\n") == []


@pytest.mark.parametrize(
    "requirement",
    ["aiohttp>=3.14.5", "aiohttp", "aiohttp @ https://files.example/aiohttp.whl", "-e ."],
)
def test_requirement_without_exact_version_is_named(requirement: str) -> None:
    assert unhashed_or_unpinned(f"{requirement} \\\n    {HASH}\n") == [requirement]


@pytest.mark.parametrize("hashes", ["", " \\\n    --hash=md5:" + "0" * 32, " \\\n    --hash=sha256:abc"])
def test_requirement_without_whole_sha256_hash_is_named(hashes: str) -> None:
    text = f"aiohttp==3.14.5{hashes}\nyarl==1.25.1 \\\n    {HASH}\n"

    assert unhashed_or_unpinned(text) == ["aiohttp==3.14.5"]
