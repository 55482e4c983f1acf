"""Ports for the servers that tests start."""

import contextlib
import random
import socket

# Below Linux's ephemeral range (32768 up): while a server is down a reconnecting client must not be handed
# the server's own port as its source port, or it would connect to itself and keep the port from the restart.
_PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Find different ports on loopback that nothing listens on; held open together so that they differ.

    Raises RuntimeError when there are not as many.
    """
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in random.sample(_PORTS, k=len(_PORTS)):
            candidate = held.enter_context(socket.socket())
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                candidate.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"fewer than {count} free ports on 127.0.0.1")
