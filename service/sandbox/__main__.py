"""``python -m service.sandbox``: the sandbox as a process; one JSON line on stdout says where it answers."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import orjson

from service.sandbox.configuration import ConfigurationError, load_configuration
from service.sandbox.server import RunningSandbox, run_sandbox


def main(arguments: list[str] | None = None) -> int:
    """Run until a signal comes. Exit codes: 0 stopped, 1 the port or a file can't be had, 2 bad configuration."""
    options = _parser().parse_args(arguments)
    try:
        configuration = load_configuration(options.config)
        run_sandbox(options.host, options.port, configuration, journal_path=options.journal, on_ready=_announce)
    except ConfigurationError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="service.sandbox", description="Both vendors' stand-in behind HTTP.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--config", type=Path, required=True, help="JSON file")
    parser.add_argument("--journal", type=Path, default=None, help="file for the journal, as JSON lines")
    return parser


def _announce(sandbox: RunningSandbox) -> None:
    line = orjson.dumps({"base_url": sandbox.base_url, "pid": os.getpid()})
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
