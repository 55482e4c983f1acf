"""Where figures were measured: without this they say nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("aiohttp", "aiokafka", "asyncpg", "dbos", "orjson", "procrastinate", "psycopg", "pydantic", "structlog")
FLUSHES = 200


def environment(folder: Path) -> dict[str, Any]:
    """Machine, versions, and what a flush to this folder's disk takes."""
    return {
        "cores": os.cpu_count(),
        "processor": _first("/proc/cpuinfo", "model name"),
        "memory_mib": int(_first("/proc/meminfo", "MemTotal").split()[0]) // 1024,
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "revision": _said("git", "describe", "--always", "--dirty"),
        "java": _said("java", "--version").splitlines()[0],
        "flush_us": flush_us(folder),
    }


def flush_us(folder: Path) -> dict[str, float]:
    """Microseconds to write 4 KiB and have it on disk."""
    path, took = folder / "flush", list[float]()
    with path.open("wb") as file:
        for _ in range(FLUSHES):
            file.write(os.urandom(4096))
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - begun) * 1e6)
    path.unlink()
    took.sort()
    return {"p50": round(took[len(took) // 2]), "p99": round(took[int(len(took) * 0.99)])}


def _first(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def _said(*command: str) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - constants of this file
    return answer.stdout.strip() or "unknown"
