"""Keys of vendors' accounts that are rotated while the service runs: it is told nothing, and needs no restart."""

from pathlib import Path

from tests.acceptance.events import event, hired
from tests.acceptance.scene import SANDBOX, Scene
from tests.kafka.broker import KafkaBroker

WRONG = "FAKE-wrong-key-9876543210"
KEY: str = SANDBOX["tencent"][0]["secret_key"]
APP_SECRET: str = SANDBOX["huawei"][0]["app_secret"]
ID: str = SANDBOX["tencent"][0]["secret_id"]
NEXT_ID, NEXT_KEY = "AKIDFAKE-next", "FAKE-next-key-0123456789"


class Volume:
    """A folder of secrets as the kubelet keeps it: files are links into `..data`, itself a link that is swapped."""

    def __init__(self, folder: Path, **secrets: str) -> None:
        self.folder = folder
        self._turn = 0
        folder.mkdir()
        self.rotate(**secrets)
        for name in secrets:
            (folder / name).symlink_to(f"..data/{name}")

    def rotate(self, **secrets: str) -> None:
        """All of them change at once."""
        self._turn += 1
        present = self.folder / f"..{self._turn}"
        present.mkdir()
        for name, secret in secrets.items():
            (present / name).write_text(secret)
            (present / name).chmod(0o640)
        (self.folder / "..data_tmp").symlink_to(present.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")


BY_FILE = {"CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY": "", "CORDBOARD_ACCOUNTS__ACME_HW__APP_SECRET": ""}
"""An empty variable counts as absent."""


async def test_accounts_recover_by_themselves_once_their_keys_are_right(kafka: KafkaBroker, tmp_path: Path) -> None:
    volume = Volume(tmp_path / "keys", cn=WRONG, hw=WRONG)
    settings = {
        "quarantine": {"probe_seconds": 1.0, "longest_probe_seconds": 2.0},
        "accounts": {
            "acme_cn": {"secret_key_file": str(volume.folder / "cn")},
            "acme_hw": {"app_secret_file": str(volume.folder / "hw")},
        },
    }
    async with Scene(kafka, tmp_path, tag=".rotated", settings=settings, secrets=BY_FILE) as scene:
        worker = scene.start_worker()
        route = {"account": "acme_hw", "access_code": "95500", "route": {"ivr": 7}}
        await scene.produce([hired(100), event("crm.number.purchased.v1", "route-1", route, key="95500")])
        await scene.until(lambda: _told(scene, "quarantined") == {"acme_cn", "acme_hw"}, seconds=30, what="quarantines")
        volume.rotate(cn=KEY, hw=APP_SECRET)
        await scene.until(lambda: _told(scene, "recovered") == {"acme_cn", "acme_hw"}, seconds=30, what="recoveries")
        await scene.until(lambda: len(scene.plan_ends()) == 2, seconds=30, what="every plan's end")
        assert worker.poll() is None
        renewed = {line["setting"] for line in scene.log_lines("a secret was renewed")}
        assert renewed == {"accounts.acme_cn.secret_key_file", "accounts.acme_hw.app_secret_file"}

        (volume.folder / "..data").unlink()
        await scene.produce([hired(n) for n in range(101, 141)])  # two seconds' worth
        await scene.until(lambda: len(scene.plan_ends()) == 42, seconds=30, what="the last keys do")
        await scene.until(
            lambda: bool(scene.log_lines("a secret can't be read; its last value stays")), seconds=10, what="it is told"
        )
        assert await scene.stop_worker(worker) == 0
        assert len(scene.log_lines("a secret can't be read; its last value stays")) <= 2, "once for each"
        assert [key for key in (WRONG, KEY, APP_SECRET) if key in scene.log_text] == []


async def test_a_key_that_is_made_anew_with_its_id_replaces_both(kafka: KafkaBroker, tmp_path: Path) -> None:
    """The vendor's keys are pairs. The quota stays one: it is the sub-account's."""
    volume = Volume(tmp_path / "keys", id=ID, key=KEY)
    both = [*SANDBOX["tencent"], {**SANDBOX["tencent"][0], "secret_id": NEXT_ID, "secret_key": NEXT_KEY}]
    files = {"secret_id_file": str(volume.folder / "id"), "secret_key_file": str(volume.folder / "key")}
    async with Scene(kafka, tmp_path, tag=".paired", sandbox_settings={"tencent": both}) as scene:
        account = {"vendor": "tencent_ccc", "base_url": scene.sandbox_url, "sdk_app_id": 1400000000, **files}
        scene.settings = {"accounts": {"acme_two": account}}
        worker = scene.start_worker()
        await scene.produce([hired(n, account="acme_two") for n in range(100, 150)])
        await scene.until(lambda: len(scene.plan_ends()) >= 5, seconds=30, what="the first hires")
        volume.rotate(id=NEXT_ID, key=NEXT_KEY)
        await scene.until(lambda: len(scene.plan_ends()) == 50, seconds=30, what="the other hires")
        used = [str(entry.account) for entry in scene.journal if entry.action == "CreateExtension"]
        assert used == sorted(used, key=[ID, NEXT_ID].index), "the first until it is rotated, then the next"
        assert set(used) == {ID, NEXT_ID}
        assert _told(scene, "quarantined") == set()
        assert scene.bursts() == []
        assert await scene.stop_worker(worker) == 0
        assert [key for key in (KEY, NEXT_KEY, NEXT_ID) if key in scene.log_text] == []


def _told(scene: Scene, what: str) -> set[str]:
    """Accounts of this scene's, by what was told of them last."""
    return {told["data"]["account"] for told in scene.events(f"provisioning.account.{what}")}
