"""What a worker says of its jobs."""

from __future__ import annotations

import pytest

from narformer.errors import ModelError
from narformer.measurement import memory
from narformer.measurement.worker import explain


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelError("net: node 'n' (Foo):\n  no kernel"), "rejected: net: node 'n' (Foo): no kernel"),
        (MemoryError(), "out of memory: MemoryError"),
        (RuntimeError("Failed to allocate memory for requested buffer"), "out of memory: Failed to allocate memory"),
        (ModelError("OpenVINO rejects it: std::bad_alloc"), "out of memory: OpenVINO rejects it: std::bad_alloc"),
        (ZeroDivisionError("division by zero"), "failed: ZeroDivisionError: division by zero"),
    ],
)
def test_a_failure_is_one_line_that_begins_with_its_kind(error: Exception, reason: str) -> None:
    told = explain(error)
    assert told.startswith(reason)
    assert "\n" not in told


def test_peak_memory_sees_what_was_taken_and_given_back() -> None:
    before = memory.restart_peak()
    if before is None:
        pytest.skip("this system does not tell the peak of resident memory")
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(block[::4096])
    del block
    highest = memory.peak()
    assert highest is not None
    assert highest - before >= 60 << 20
    again = memory.restart_peak()
    now = memory.peak()
    assert again is not None
    assert now is not None
    assert now - again < 32 << 20
