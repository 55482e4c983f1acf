"""Who counts as this machine."""

from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request

from service.sandbox.administration import is_loopback


@pytest.mark.parametrize(
    ("peer", "ours"),
    [
        (("127.0.0.1", 5), True),
        (("127.8.8.8", 5), True),
        (("::1", 5, 0, 0), True),
        (("::ffff:127.0.0.1", 5, 0, 0), True),
        (("10.0.0.1", 5), False),
        (("::ffff:10.0.0.1", 5, 0, 0), False),
        (None, False),
    ],
)
async def test_only_loopback_peers_are_this_machine(peer: tuple[object, ...] | None, ours: bool) -> None:
    transport = Mock()
    transport.get_extra_info.return_value = peer
    assert is_loopback(make_mocked_request("GET", "/", transport=transport)) is ours
