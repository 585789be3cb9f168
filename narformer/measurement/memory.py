"""Resident memory of this process, on Linux; elsewhere unknown."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def restart_peak() -> int | None:
    """Forget the peak so far; returns the resident bytes now, None where the system does not tell."""
    gc.collect()
    # Freed memory goes back to the system first, or what the next network takes from it would not be seen.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text("5")
    except OSError:
        return None
    return _read("VmRSS")


def peak() -> int | None:
    """The highest resident bytes since `restart_peak`."""
    return _read("VmHWM")


def _read(field: str) -> int | None:
    try:
        found = re.search(rf"^{field}:\s*(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None
