"""Checkpoints: written whole or not at all, so that a run killed at any moment resumes from its last epoch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from narformer.errors import DataError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings) to `path`, replacing what was there in one step."""
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DataError(
            f"{path}: the checkpoint could not be written ({error.strerror}); the one before is kept"
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote. Raises DataError where the file is absent or is not a checkpoint."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # torch.load raises many kinds for a broken file
        raise DataError(f"{path}: not a checkpoint of narformer train ({type(error).__name__})") from error
    return state
