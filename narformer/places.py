"""Where a user's own data lie: measurements, adapted devices."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_data() -> Path:
    """The directory in which this system keeps a program's data for one user, and ours in it."""
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "narformer"
