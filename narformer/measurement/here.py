"""What this machine can measure, and what would have to be installed for more."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from narformer.errors import MissingExtraError
from narformer.measurement.device import hardware, short_version
from narformer.measurement.runtimes.registry import RUNTIMES
from narformer.prediction.target import measured_target


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
        """As JSON's types."""
        return asdict(self)


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
