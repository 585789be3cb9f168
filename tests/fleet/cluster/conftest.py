"""The cluster that these tests share."""

from __future__ import annotations

from collections.abc import Iterator

import far_away
import pytest
from fleets import Fleet


@pytest.fixture(scope="session")
def started() -> Iterator[Fleet]:
    """Skips where Ray is not installed."""
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'narformer[fleet]'")
    ray.cloudpickle.register_pickle_by_value(far_away)  # the machines cannot import it
    fleet = Fleet()
    ray.init(address=fleet.address, log_to_driver=False, logging_level="FATAL", namespace="narformer")
    yield fleet
    ray.shutdown()
    fleet.cluster.shutdown()


@pytest.fixture
def fleet(started: Fleet) -> Fleet:
    """All of its machines are up, and this process is connected."""
    started.restore()
    return started
