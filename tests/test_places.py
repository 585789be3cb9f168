"""Where a user's own data lie, whatever the user has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from narformer import places


def test_data_lie_where_the_system_keeps_a_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places.user_data() == tmp_path / ".local" / "share" / "narformer"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert places.user_data() == tmp_path / "data" / "narformer"


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may become another user")
def test_a_user_without_home_or_account_is_answered() -> None:
    """As a service of systemd runs, with a user made for it, and a container with `--user 61234`."""
    code = "import os, narformer.places as p; os.setuid(61234); print(p.user_data().is_dir())"
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_DATA_HOME")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_a_home_that_cannot_be_found_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert places.user_data() == Path("/nonexistent/.local/share/narformer")
