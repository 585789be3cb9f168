"""What runs in processes of the cluster in the tests: they import it from here."""

from __future__ import annotations

import os
import time

from narformer.errors import ConfigError
from narformer.fleet.agent import Agent
from narformer.measurement.jobs import Job, Result


class QuickAgent(Agent):
    """Says at once what it would measure; dies of a network called "killer"."""

    def measure(self, wish: int, first_reference_s: float, job: Job) -> Result:
        if job.name == "killer":
            os._exit(1)
        time.sleep(0.05)
        return Result(1.0, 0.1, 5, 4.0)


class UnableAgent(QuickAgent):
    """Offers what it cannot do."""

    def measure(self, wish: int, first_reference_s: float, job: Job) -> Result:
        raise ConfigError("the measuring process does not start: no disk")


def nothing() -> None:
    return None


def fetched(item: int) -> int:
    return 10 * item


def slowly(_: None, item: int) -> int:
    time.sleep(0.1)
    return item + 1


def refusing(_: None, item: int) -> int:
    raise ConfigError(f"{item} is not liked")


def dying(_: None, item: int) -> int:
    os._exit(1)
