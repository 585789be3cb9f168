"""Fixtures that several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from narformer.cells.table import CellTable, enumerate_space

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Root of the public datasets: $NARFORMER_DATA, else shared/data beside the repository; skips where absent."""
    path = Path(os.environ.get("NARFORMER_DATA") or REPOSITORY.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip("the public datasets are not here; set NARFORMER_DATA to run this test")
    return path


@pytest.fixture(scope="session")
def resnet18() -> Path:
    return REPOSITORY / "examples" / "resnet18.onnx"


@pytest.fixture(scope="session")
def nasbench101() -> CellTable:
    """Every cell of NAS-Bench-101, which takes seconds to enumerate."""
    return enumerate_space("nasbench101")


@pytest.fixture(autouse=True)
def no_store_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What this user has measured or adapted must not answer the tests' questions, nor may tests write there."""
    monkeypatch.setenv("NARFORMER_STORE", str(tmp_path / "measurements.db"))
    monkeypatch.setenv("NARFORMER_DEVICES", str(tmp_path / "devices"))
