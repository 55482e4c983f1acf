"""The processes of a server, as Linux tells them: to end all of them at one moment."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path


def kill_with_children(process: subprocess.Popen[bytes], *, deadline_seconds: float) -> None:
    """SIGKILL a process and its children, and return when all of them are gone.

    Each child of PostgreSQL leads a session of its own, so no signal to a group reaches them all. The parent is halted
    first: it starts no child that would be missed.

    Raises TimeoutError when one of them is still there at the deadline.
    """
    process.send_signal(signal.SIGSTOP)
    children = children_of(process.pid)
    for pid in (process.pid, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=deadline_seconds)
    deadline = time.monotonic() + deadline_seconds
    while alive := [pid for pid in children if is_alive(pid)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"still there after SIGKILL: {alive}")
        time.sleep(0.01)


def children_of(parent: int) -> list[int]:
    """Return the ids of a process's children."""
    running = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in running if (fields := _stat(pid)) and int(fields[1]) == parent]


def is_alive(pid: int) -> bool:
    """Whether the process can still do anything; one that only waits to be reaped cannot."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in {"Z", "X"}


def _stat(pid: int) -> list[str]:
    """Return state, parent and the rest of what the kernel says of a process; empty when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()  # the name before it may hold anything
