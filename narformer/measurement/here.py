"""What this machine can measure, how it measures a given target, and what would have to be installed for more."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from narformer.errors import ConfigError, MissingExtraError
from narformer.measurement.device import hardware, short_version
from narformer.measurement.runtimes.registry import RUNTIMES
from narformer.measurement.session import Settings
from narformer.prediction.target import Target, measured_target


@dataclass(frozen=True)
class Available:
    """A runtime on one processor of this machine.

    device: id of the target for networks in float32, on a CPU with one thread; empty where the runtime cannot run, and
    then `missing` says why.
    """

    runtime: str
    processor: str = ""
    device: str = ""
    missing: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON's types; `device` is what `target` was called."""
        return {"target": self.device, **asdict(self)}


def available(threads: int = 1, runtime_name: str | None = None) -> list[Available]:
    """All runtimes, or those that targets know by one name (PyTorch, eager and compiled); those present first."""
    found: list[Available] = []
    for name, runtime in RUNTIMES.items():
        if runtime_name not in (None, measured_target("here", name, "0.0", "cpu").runtime_name):
            continue
        try:
            version = short_version(runtime.version())
            for processor in runtime.processors():
                target = measured_target(hardware(processor), name, version, processor, threads=threads)
                found.append(Available(name, processor, str(target)))
        except MissingExtraError as error:
            found.append(Available(name, missing=str(error)))
        except Exception as error:  # installed, but a library of its own cannot be loaded
            found.append(Available(name, missing=f"{name} is installed but does not start: {error}"))
    return sorted(found, key=lambda entry: bool(entry.missing))


def settings_for(text: str, settings: Settings) -> Settings:
    """These settings, with the runtime, processor and threads that make the target of an id.

    Raises ConfigError where this machine, by its own name or that of the settings, is another target.
    """
    wanted = Target.parse(text)
    entries = [entry for entry in available(wanted.threads or 1, wanted.runtime_name) if not entry.missing]
    for entry in entries:
        here = Target.parse(entry.device)
        # The precision is that of each network.
        here = replace(here, hardware=settings.hardware or here.hardware, precision=wanted.precision)
        if here == wanted:
            threads = wanted.threads or settings.threads
            return replace(settings, runtime=entry.runtime, processor=entry.processor, threads=threads)
    told = ", ".join(entry.device for entry in entries) or f"no {wanted.runtime_name}"
    raise ConfigError(f"{text}: this machine has {told}")
