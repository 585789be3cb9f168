"""Where a user's own data lie: measurements, adapted devices."""

from __future__ import annotations

import os
import sys
from pathlib import Path

NO_HOME = Path("/nonexistent")  # what Debian calls the home directory of users that have none


def user_data() -> Path:
    """The directory in which this system keeps a program's data for one user, and ours in it.

    A user without a home directory (of a service, of a container) has nothing there and can keep nothing there.
    """
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = _home() / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or _home() / ".local" / "share")
    return data / "narformer"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # no $HOME, and no account of this number
        return NO_HOME
