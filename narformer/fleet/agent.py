"""What measures on a machine of the cluster: one process of Ray that has the machine for itself.

It starts the same worker that `narformer measure` starts, and hands its results to whoever keeps them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import narformer
from narformer.errors import ConfigError, NarformerError
from narformer.measurement import device as devices
from narformer.measurement.here import settings_for
from narformer.measurement.jobs import Job, Result
from narformer.measurement.runtimes.registry import runtime
from narformer.measurement.session import Settings
from narformer.measurement.supervisor import Supervisor
from narformer.prediction.hardware import hardware
from narformer.prediction.target import Target, parse_former


@dataclass(frozen=True)
class Wish:
    """What to measure on. hardware: a name; target: an id of one of its targets, else what the settings make of it.

    asked: whether somebody asked for it, rather than for whatever there is.
    """

    hardware: str
    target: str = ""
    asked: bool = True

    @classmethod
    def of(cls, text: str) -> Wish:
        """What an id or a name of hardware stands for. Raises ConfigError for what can be neither."""
        former = parse_former(text)
        if former is not None:
            raise ConfigError(f"{text}: says a batch size too; write {former[0]} and --batch-size {former[1]}")
        if ":" not in text:
            return cls(hardware(text).name)
        target = Target.parse(text)
        return cls(target.hardware, str(target))

    def __str__(self) -> str:
        return self.target or self.hardware


@dataclass(frozen=True)
class Offer:
    """How a machine fulfils a wish: its target, and what that leaves out; or the reason why it cannot."""

    target: Target | None
    machine: str
    refusal: str = ""


class Agent:
    """Measures networks one after another, with one worker process at a time."""

    def __init__(self, settings: Settings, wishes: tuple[Wish, ...], offered: tuple[str, ...], version: str) -> None:
        """offered: hardware of this machine. version: narformer's, of who asks."""
        self.offered = offered
        self.settings: list[Settings] = []
        self._offers: list[Offer] = []
        self._supervisor: tuple[int, Supervisor] | None = None
        for wish in wishes:
            own = replace(settings, hardware=wish.hardware)
            try:
                if version != narformer.__version__:
                    raise ConfigError(f"narformer {narformer.__version__} is installed there, here {version}")
                own = settings_for(wish.target, own) if wish.target else own
                self._check(own)
                target = own.target()
                told = f"{devices.machine()}, {target.runtime_name} {runtime(own.runtime).version()}"
                self._offers.append(Offer(target, told))
            except NarformerError as error:
                self._offers.append(Offer(None, "", str(error).removeprefix(f"{wish}: ")))
            self.settings.append(own)

    def offers(self) -> list[Offer]:
        """An Offer a wish, in order."""
        return self._offers

    def measure(self, wish: int, first_reference_s: float, job: Job) -> Result:
        """Run one network as a wish (its place) says. Raises ConfigError where nothing can be measured at all."""
        settings = self.settings[wish]
        if self._supervisor is None or self._supervisor[0] != wish:
            if self._supervisor is not None:
                self._supervisor[1].stop()
            self._supervisor = (wish, Supervisor(settings.setup(first_reference_s), settings.timeout_s))
        return self._supervisor[1].measure(job)

    def _check(self, settings: Settings) -> None:
        """Raises ConfigError where a machine with several kinds of hardware would measure on another one."""
        if settings.hardware not in self.offered:
            raise ConfigError(f"it offers {', '.join(self.offered) or 'no hardware'}")
        if settings.processor not in (known := runtime(settings.runtime).processors()):
            raise ConfigError(
                f"{settings.runtime} cannot run on {settings.processor!r} there, only on {', '.join(known)}"
            )
        if settings.threads > (cores := os.cpu_count() or settings.threads):
            raise ConfigError(f"{settings.threads} threads: it has {cores} cores")
        own = devices.hardware(settings.processor)
        if own in self.offered and own != settings.hardware:
            raise ConfigError(f"{settings.processor} is {own} there, not {settings.hardware}")
