"""Loggers of other people's packages, kept quiet for a while."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def heard(*names: str, level: int = logging.ERROR) -> Iterator[None]:
    """Of these loggers only what is of this level or above is heard within the block."""
    before = [(logger, logger.level) for logger in map(logging.getLogger, names)]
    for logger, _ in before:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, was in before:
            logger.setLevel(was)
