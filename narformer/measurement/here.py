"""What this machine can measure, and what would have to be installed for more."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from narformer.errors import MissingExtraError
from narformer.measurement.device import Device, hardware, short_version
from narformer.measurement.runtimes.registry import RUNTIMES


@dataclass(frozen=True)
class Available:
    """A runtime on one processor of this machine.

    device: id for networks in float32 at batch size 1 with one thread; empty where the runtime cannot run, and then
    `missing` says why.
    """

    runtime: str
    processor: str = ""
    device: str = ""
    missing: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON's types."""
        return asdict(self)


def available(threads: int = 1) -> list[Available]:
    """All runtimes, those present first."""
    found: list[Available] = []
    for name, runtime in RUNTIMES.items():
        try:
            version = short_version(runtime.version())
            for processor in runtime.processors():
                device = Device(hardware(processor), name, version, processor, threads=threads)
                found.append(Available(name, processor, device.id))
        except MissingExtraError as error:
            found.append(Available(name, missing=str(error)))
        except Exception as error:  # installed, but a library of its own cannot be loaded
            found.append(Available(name, missing=f"{name} is installed but does not start: {error}"))
    return sorted(found, key=lambda entry: bool(entry.missing))
