"""A real PostgreSQL for the tests: a server on loopback that can be stopped, killed and started again.

`.ci/need postgres` brings the programs. In a test ask for the fixture `postgres_url` or `postgres`; to play by hand run
`make postgres` (or `python -m tests.postgres.server`), which stays in the foreground until Ctrl-C.
"""

import asyncio
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from tests.ports import free_ports
from tests.postgres.host import PostgresFailedError, account, hand_over, make_directory, programs
from tests.postgres.processes import kill_with_children
from tests.servers import RunningServer

START_DEADLINE_SECONDS = 30.0
STOP_DEADLINE_SECONDS = 20.0
# The service owns its database and may do nothing to the server: a right too many would hide a fault until production.
USER = "cordboard"
ADMIN = "admin"


class PostgresServer(RunningServer):
    """One PostgreSQL in a directory of its own, run by an account that is not root.

    Every method blocks; a coroutine calls it as `await asyncio.to_thread(server.kill)`, so that the clients
    on its loop keep running meanwhile. Port, passwords and data are kept across `stop`, `kill`, `crash` and `start`.
    Not for use by two threads at once, except for making and dropping databases.

    Args:
        settings: server settings by their PostgreSQL names, in addition to, or instead of, the default ones.

    """

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        self._programs = programs()
        self._account = account()
        self._password = secrets.token_urlsafe(18)
        self._settings = dict(settings or {})
        (self.port,) = free_ports(1)
        self.directory = make_directory(self._account)
        self.log_file = self.directory / "server.log"
        self._data = self.directory / "data"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running server, the parent of all its processes; None while it is down."""
        return self._process.pid if self.is_running and self._process is not None else None

    @property
    def is_running(self) -> bool:
        """Whether the server's first process lives (not: whether it answers)."""
        return self._process is not None and self._process.poll() is None

    def url(self, database: str) -> str:
        """Return a database's address with the name and password of an ordinary user, who owns every database made."""
        return self._url(USER, database)

    def admin_url(self, database: str = "postgres") -> str:
        """Return the same for the superuser, who gets in even when the ordinary users took every connection."""
        return self._url(ADMIN, database)

    def start(self) -> None:
        """Set the data directory up at the first time, start the server and wait until it answers.

        Raises PostgresFailedError with the end of the log when that takes longer than `START_DEADLINE_SECONDS`.
        """
        if self.is_running:
            return
        is_first = not self._data.exists()
        if is_first:
            self._initialise()
        self._process = self._launch("postgres", "-D", str(self._data))
        self._wait_until_it_answers()
        if is_first:
            self._execute(f"CREATE ROLE {USER} LOGIN PASSWORD '{self._password}'")

    def stop(self) -> None:
        """End the server in order (SIGINT, "fast": clients are cut off); crashes it when it does not follow in time."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the server at once (SIGQUIT, "immediate"): clients are told, nothing is flushed, a start recovers."""
        self._end(signal.SIGQUIT)

    def crash(self) -> None:
        """End every process of the server as a power cut of them would: SIGKILL, nobody is told anything."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            kill_with_children(process, deadline_seconds=STOP_DEADLINE_SECONDS)

    def restart(self) -> None:
        """Start again on the same data and the same port; a running server is stopped in order first."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the server and remove what it left."""
        self.stop()
        self._remove_shared_memory()
        shutil.rmtree(self.directory, ignore_errors=True)

    def create_database(self, name: str | None = None, *, template: str = "template0") -> str:
        """Make a database and return its name, without one a unique one.

        A template is copied whole, which is quicker than migrating again; nobody may be connected to it meanwhile.
        """
        name = name or f"test_{uuid.uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {_plain(name)} OWNER {USER} TEMPLATE {_plain(template)}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, if it is there, and whoever is still connected to it."""
        self._execute(f"DROP DATABASE IF EXISTS {_plain(name)} WITH (FORCE)")

    def _url(self, user: str, database: str) -> str:
        return f"postgresql://{user}:{self._password}@127.0.0.1:{self.port}/{database}"

    def _launch(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one of PostgreSQL's programs as the account, its words to the log."""
        with self.log_file.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own command line, no shell
                [self._programs / program, *arguments],
                user=self._account.uid,
                group=self._account.gid,
                extra_groups=self._account.extra_groups,
                cwd=self.directory,  # ours may be closed to the account
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the terminal is meant for us: we end what we started
            )

    def _initialise(self) -> None:
        """Let `initdb` make the data directory, and write the settings into it."""
        password_file = self.directory / "password"
        password_file.touch(mode=0o600)
        hand_over(password_file, self._account)
        password_file.write_text(self._password, encoding="utf-8")
        options = ["--locale=C", "--encoding=UTF8", "--auth=scram-sha-256", f"--username={ADMIN}"]
        options += [f"--pgdata={self._data}", f"--pwfile={password_file}"]
        # without a sync of its own: what initdb writes need not survive a power cut, what the server commits is synced
        self._process = self._launch("initdb", "--no-sync", *options)
        code = self._process.wait(timeout=START_DEADLINE_SECONDS)
        password_file.unlink()
        if code != 0:
            raise PostgresFailedError(f"initdb failed:\n{self.log_tail()}")
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as config:
            config.writelines(f"{name} = '{value}'\n" for name, value in self._server_settings().items())

    def _server_settings(self) -> dict[str, str]:
        """Reached over TCP on loopback alone, and as careful with commits as in production."""
        return {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "100",
            "fsync": "on",
            "synchronous_commit": "on",
            # files in the data directory: a server that was killed leaves nothing in /dev/shm
            "dynamic_shared_memory_type": "mmap",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "log_checkpoints": "off",  # every dropped database makes two: they would push the faults out of the tail
            **self._settings,
        }

    def _wait_until_it_answers(self) -> None:
        """Connect until a connection is taken, which may be after a recovery."""
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        with ThreadPoolExecutor(max_workers=1) as apart:
            while time.monotonic() < deadline:
                if not self.is_running:
                    raise PostgresFailedError(f"PostgreSQL ended while starting:\n{self.log_tail()}")
                if apart.submit(asyncio.run, _answers(self.admin_url())).result():
                    return
                time.sleep(0.02)
        self.crash()
        raise PostgresFailedError(
            f"PostgreSQL did not answer within {START_DEADLINE_SECONDS:.0f} s:\n{self.log_tail()}"
        )

    def _execute(self, statement: str) -> None:
        """Execute one statement as the superuser."""
        # a thread of its own: the caller's thread may be running a loop already
        with ThreadPoolExecutor(max_workers=1) as apart:
            apart.submit(asyncio.run, _execute(self.admin_url(), statement)).result()

    def _end(self, how: signal.Signals) -> None:
        """Signal the first process, which ends all others, and reap it."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.crash()
        self._process = None

    def _remove_shared_memory(self) -> None:
        """Remove the segment by which a server knows that it is alone: one that was killed left it with the system."""
        note = self._data / "postmaster.pid"
        if not note.exists():
            return
        segment = note.read_text(encoding="utf-8").splitlines()[6:7]  # "key id"
        if segment and (ipcrm := shutil.which("ipcrm")):
            subprocess.run(  # noqa: S603 - found on the path, no shell
                [ipcrm, "--shmem-id", segment[0].split()[1]], capture_output=True, check=False
            )


async def _answers(url: str) -> bool:
    """Whether the server takes a connection."""
    try:
        connection = await asyncpg.connect(url, timeout=2)
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
        return False
    await connection.close()
    return True


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=STOP_DEADLINE_SECONDS)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _plain(name: str) -> str:
    """Return a name that needs no quotes in a statement; raises ValueError for any other."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise ValueError(f"not a plain database name: {name!r}")
    return name


def main() -> int:
    """Run one server with one empty database in the foreground until Ctrl-C or SIGTERM."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, lambda *_: ended.set())
    with PostgresServer() as server:
        url = server.url(server.create_database(USER))
        sys.stdout.write(f"PostgreSQL answers at {url}; log in {server.log_file}; Ctrl-C ends it\n")
        sys.stdout.flush()
        while server.is_running and not ended.wait(timeout=0.5):
            pass
        if not ended.is_set():
            sys.stderr.write(f"PostgreSQL ended by itself:\n{server.log_tail()}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
