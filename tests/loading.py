"""Settings read from documents, for the tests of settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from service.settings import Faults, Settings, load_settings

CANARY = "FAKE-CANARY-4711"
TENCENT = {"vendor": "tencent_ccc", "sdk_app_id": 1400000000, "secret_id": "AKIDFAKE"}
HUAWEI = {"vendor": "huawei_aicc", "base_url": "https://aicc.example", "app_key": "FAKE-app"}
KEY = {"CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY": "FAKE-secret-key"}


class Loader:
    """Writes documents as files and reads settings from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, document: object, environ: Mapping[str, str] | None = None) -> Settings | Faults:
        text = document if isinstance(document, str) else yaml.safe_dump(document)
        path = self.folder / "cordboard.yaml"
        path.write_text(text)
        return load_settings(path, environ or {})

    def settings(self, document: object, environ: Mapping[str, str] | None = None) -> Settings:
        loaded = self(document, environ)
        assert isinstance(loaded, Settings), list(loaded)
        return loaded

    def faults(self, document: object, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        loaded = self(document, environ)
        assert isinstance(loaded, Faults)
        return {fault.path: fault.message for fault in loaded}

    def secret_file(self, content: str, mode: int = 0o600) -> str:
        path = self.folder / f"secret-{mode:o}"
        path.write_text(content + "\n")
        path.chmod(mode)
        return str(path)


def values(settings: Settings) -> set[str]:
    return {secret.get_secret_value() for _, secret in settings.secrets()}
