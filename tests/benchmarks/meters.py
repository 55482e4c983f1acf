"""What a process has cost so far, from /proc: CPU with its threads and children, memory at its highest."""

from __future__ import annotations

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def family(pid: int) -> list[int]:
    """A process and all that come from it."""
    found = [pid]
    for path in _PROC.glob(f"{pid}/task/*/children"):
        for child in path.read_text().split():
            found += family(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its children and those of them that have ended."""
    return sum(_cpu(one) for one in family(pid))


def peak_mib(pid: int) -> float:
    """The most memory that a process and its children ever held, each by itself, added up."""
    return sum(_status(one, "VmHWM") for one in family(pid)) / 1024


def resident_mib(pid: int) -> float:
    """The memory held now."""
    return sum(_status(one, "VmRSS") for one in family(pid)) / 1024


def machine_cpu_seconds() -> float:
    """What the whole machine has worked, idle time and waiting for disks left out."""
    fields = [int(field) for field in (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / TICK


def _cpu(pid: int) -> float:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    fields = text.rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICK  # utime, stime, cutime, cstime


def _status(pid: int, name: str) -> float:
    try:
        text = (_PROC / str(pid) / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    line = next((line for line in text.splitlines() if line.startswith(name)), "0 0")
    return float(line.split()[1])
