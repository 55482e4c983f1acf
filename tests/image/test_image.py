"""The image is really built, on a Debian of our own making, and the demo runs in it: read-only, without a shell.

What is run is the image's own entry point, user, environment and health check, in its root, set up as strictly as a
cluster's restricted profile asks and more so: see `read_only_root.sh`.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.checks.secret_scan import scan
from tests.image.buildah import BASE_TAR, ROOT, Buildah, Image, copy_context

pytestmark = pytest.mark.image

CANARY = "FAKE-canary-in-the-folder-that-is-built"
LEAVINGS = (
    ".env",
    ".git/config",
    "cordboard.db",
    "service/.env",
    "service/cordboard.db-wal",
    "service/__pycache__/x.pyc",
)
REVISION = "0123456789abcdef0123456789abcdef01234567"
LARGEST_ADDITION = 185_000_000
LOOK = """
import json, os, pathlib

def writable(folder):
    try:
        (pathlib.Path(folder) / "probe").write_text("")
    except OSError:
        return False
    return True

status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "ids": [os.getuid(), os.getgid(), os.getgroups()],
    "capabilities": status["CapEff"],
    "no_new_privileges": status["NoNewPrivs"],
    "folder": os.getcwd(),
    "programs": sorted({name for folder in ("/bin", "/sbin", "/usr/bin", "/usr/sbin") for name in os.listdir(folder)}),
    "writable": list(filter(writable, ("/", "/etc", "/opt/cordboard", "/usr", "/var", "/tmp", os.getcwd()))),
}))
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image, built from a clone in which somebody has worked and left secrets lying about."""
    if os.geteuid() != 0:
        pytest.fail("building and mounting an image take root: sudo make test-image")
    BASE_TAR.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="store-", dir=BASE_TAR.parent) as store:
        buildah, context = Buildah(Path(store)), Path(store) / "context"
        copy_context(context)
        for leaving in LEAVINGS:
            (context / leaving).parent.mkdir(parents=True, exist_ok=True)
            (context / leaving).write_text(CANARY)
        buildah.import_base()
        buildah.make_image(context, revision=REVISION)
        shutil.rmtree(context)
        yield buildah.open_image()
        buildah("umount", "--all")


def test_demo_runs_to_its_end_with_nothing_writable_but_scratch_and_volume(image: Image) -> None:
    done = image.run([*image.config["Entrypoint"], "demo"])
    assert done.returncode == 0, done.stderr[-2000:]
    for title in ("What came in", "How the commands ended", "What the vendors saw", "Next"):
        assert title in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_it_runs_as_nobody_special_with_no_program_but_python(image: Image) -> None:
    done = image.run(["/opt/cordboard/bin/python", "-c", LOOK])
    seen = json.loads(done.stdout)
    assert seen["ids"] == [65532, 65532, []]
    assert int(seen["capabilities"], 16) == 0
    assert seen["no_new_privileges"] == "1"
    assert seen["folder"] == image.config["WorkingDir"] == "/var/lib/cordboard"
    assert seen["writable"] == ["/tmp", "/var/lib/cordboard"]  # noqa: S108 - the container's
    assert all(name.startswith("python3") for name in seen["programs"])


def test_it_says_what_it_is(image: Image) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == project["name"]
    assert labels["org.opencontainers.image.description"] == project["description"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.revision"] == REVISION
    said = image.run([*image.config["Entrypoint"], "--version"])
    assert said.stdout == f"cordboard {project['version']}\n"


def test_it_starts_without_a_shell_and_says_how_to_use_it(image: Image) -> None:
    assert image.config["Entrypoint"] == ["/opt/cordboard/bin/cordboard"]
    assert not image.config["Cmd"]
    assert (image.root / "opt/cordboard/bin/cordboard").read_text().startswith("#!/opt/cordboard/bin/python\n")
    assert "Usage: cordboard" in image.run([*image.config["Entrypoint"], "--help"]).stdout


def test_its_health_check_asks_the_server_of_its_settings(image: Image) -> None:
    kind, *command = image.config["Healthcheck"]["Test"]
    assert kind == "CMD", "not through a shell"
    with ThreadingHTTPServer(("127.0.0.1", 0), _Alive) as server:
        Thread(target=server.serve_forever).start()
        port = {"CORDBOARD_HTTP__PORT": str(server.server_address[1])}
        well = image.run(command, environ=port)
        server.shutdown()
    assert (well.returncode, well.stdout) == (0, "alive\n"), well.stderr
    assert image.run(command, environ=port).returncode == 6


class _Alive(BaseHTTPRequestHandler):
    """A server that makes progress."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"status": "alive"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it overrides
        """Nothing."""


def test_it_is_small_and_nothing_of_the_building_is_left(image: Image) -> None:
    assert image.added_bytes < LARGEST_ADDITION, f"{image.added_bytes / 1e6:.0f} MB on top of its base"
    assert not (image.root / "src").exists()
    packages = image.root / "opt/cordboard/lib/python3.11/site-packages"
    present = {path.name for path in packages.iterdir()}
    assert {"service", "contracts", "aiohttp", "confluent_kafka", "opentelemetry"} <= present
    assert present.isdisjoint({"tests", "helm", "pip", "setuptools", "uv", "hatchling", "pytest"})
    assert "No module named pip" in image.run(["/opt/cordboard/bin/python", "-m", "pip"]).stderr
    for empty in ("var/lib/apt/lists", "var/log", "var/lib/cordboard", "root/.cache"):
        assert not list((image.root / empty).glob("*")), empty


def test_everything_is_compiled_and_belongs_to_root(image: Image) -> None:
    files = [path for path in (image.root / "opt/cordboard").rglob("*") if path.is_file() and not path.is_symlink()]
    sources = {path for path in files if path.suffix == ".py"}
    compiled = {path.parent.parent / f"{path.name.split('.')[0]}.py" for path in files if path.suffix == ".pyc"}
    assert len(sources) > 1000
    assert sorted(sources - compiled) == []
    assert [path for path in files if path.stat().st_uid or path.stat().st_mode & 0o022] == []


def test_no_program_in_it_gives_rights_away(image: Image) -> None:
    files = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)] == []


def test_no_secret_is_in_its_files_or_its_history(image: Image) -> None:
    description = json.dumps(image.document, indent=1)
    assert list(scan(description)) == []
    assert CANARY not in description
    files = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
