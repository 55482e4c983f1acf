"""What this machine has for a PostgreSQL: its programs, an account to run it, a directory that account can reach."""

import contextlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

OLDEST_VERSION = 15
_DEBIAN = Path("/usr/lib/postgresql")


class PostgresFailedError(RuntimeError):
    """The server could not be prepared or did not answer in time; the message carries the end of its log."""


@dataclass(frozen=True)
class Account:
    """Who runs the server, in the words of `subprocess`; None is whoever runs the tests."""

    uid: int | None = None
    gid: int | None = None

    @property
    def extra_groups(self) -> list[int] | None:
        """No further group when the account changes: root's own would come along."""
        return None if self.uid is None else []


def account() -> Account:
    """Return who is to run the server: PostgreSQL refuses to be root, so root hands it to somebody who is not."""
    if os.geteuid() != 0:
        return Account()
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise PostgresFailedError("PostgreSQL does not run as root, and there is no account `postgres` or `nobody`")


def make_directory(owner: Account) -> Path:
    """Make a temporary directory that the account owns and can reach.

    Root's own temporary directory may lie where nobody else can go; then it is one of the system's.
    """
    usual = tempfile.gettempdir()
    places = (usual,) if owner.uid is None else (usual, "/tmp", "/var/tmp")  # noqa: S108 - mkdtemp makes it private
    place = next((place for place in places if owner.uid is None or _is_open_to_all(Path(place))), None)
    if place is None:
        raise PostgresFailedError(f"none of {', '.join(places)} can be reached by user {owner.uid}")
    directory = Path(tempfile.mkdtemp(prefix="cordboard-postgres-", dir=place))
    hand_over(directory, owner)
    return directory


def hand_over(path: Path, owner: Account) -> None:
    """Make a file or directory the account's own."""
    if owner.uid is not None and owner.gid is not None:
        os.chown(path, owner.uid, owner.gid)


def programs() -> Path:
    """Return the directory with the newest `postgres` and `initdb`; Debian keeps them off the path, by version."""
    found = {version: place for place in _places() if (version := _version(place)) >= OLDEST_VERSION}
    if not found:
        raise PostgresFailedError(f"no PostgreSQL {OLDEST_VERSION} or later; `make postgres` installs it or says how")
    return found[max(found)]


def _places() -> list[Path]:
    places = [*_DEBIAN.glob("*/bin")]
    if pg_config := shutil.which("pg_config"):
        answer = subprocess.run(  # noqa: S603 - found on the path, no shell
            [pg_config, "--bindir"], capture_output=True, text=True, check=False
        )
        places.append(Path(answer.stdout.strip()))
    return places


def _version(place: Path) -> int:
    """Return the major version of the server in a directory; 0 where there is none that can be set up."""
    server = place / "postgres"
    if not (os.access(server, os.X_OK) and os.access(place / "initdb", os.X_OK)):
        return 0
    answer = subprocess.run(  # noqa: S603 - a file just looked at, no shell
        [server, "--version"], capture_output=True, text=True, check=False
    )
    number = re.search(r" (\d+)", answer.stdout)  # "postgres (PostgreSQL) 15.18 (Debian …)", "… 19beta1"
    return int(number[1]) if number else 0


def _is_open_to_all(path: Path) -> bool:
    """Whether anybody may go there, through every directory above it."""
    return path.is_dir() and all(place.stat().st_mode & stat.S_IXOTH for place in (path, *path.absolute().parents))
