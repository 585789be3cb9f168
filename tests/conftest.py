"""Fixtures that several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dummies import write_dummy
from hypothesis import HealthCheck, settings

from narformer.cells.table import CellTable, enumerate_space

# What tests compute is tiny: several threads would mostly wait for each other, on a busy machine for minutes. Torch is
# not imported yet, and reads this when it is.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Output has no terminal here; pytest-xdist says that it has one of 80 columns, and a user's shell may say so too.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
# A busy machine is slow, and that is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent
# What takes longest, so that nobody begins it when all else is done.
FIRST = ("fleet/test_on_a_cluster.py", "test_docs.py", "measurement/test_store.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, for `pytest -n 2 --dist loadfile`."""
    names = [item.path.relative_to(TESTS).as_posix() for item in items]
    places = {item: FIRST.index(name) if name in FIRST else len(FIRST) for item, name in zip(items, names, strict=True)}
    items.sort(key=places.__getitem__)


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


@pytest.fixture
def dummy(tmp_path: Path) -> Path:
    """A predictor in the real file format that predicts 10 ms on p and 20 ms on q for every network."""
    return write_dummy(tmp_path)


@pytest.fixture(autouse=True)
def no_store_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What this user has measured or adapted must not answer the tests' questions, nor may tests write there."""
    monkeypatch.delenv("NARFORMER_STORE", raising=False)
    monkeypatch.setattr("narformer.measurement.store.user_data", lambda: tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))  # of processes that tests start
    monkeypatch.setenv("NARFORMER_DEVICES", str(tmp_path / "devices"))
