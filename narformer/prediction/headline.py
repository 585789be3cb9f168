"""Which targets to show first, of many: one for each piece of hardware, the newest hardware of each group."""

from __future__ import annotations

import re
from collections.abc import Sequence

from narformer.errors import ConfigError
from narformer.prediction.target import Target, select

# Ways to run a runtime, of those that stand beside each other the one that people take first.
_VARIANTS = ("channels-last", "", "compiled")


def one_target(text: str, known: Sequence[str]) -> tuple[str, list[str]]:
    """The one target that a text stands for, and the others that it may stand for as well.

    Raises UnknownDeviceError for what stands for none.

    >>> known = ["rtx4090:pytorch-2.9:fp16", "rtx4090:pytorch-2.9-compiled:fp16", "rtx4090:pytorch-2.4-compiled:fp16"]
    >>> one_target("rtx4090", known)[0]
    'rtx4090:pytorch-2.9-compiled:fp16'
    """
    found = select([text], known)
    best = max(found, key=_newest)
    return best, [target for target in found if target != best]


def _newest(name: str) -> tuple[tuple[int, ...], int]:
    try:
        target = Target.parse(name)
    except ConfigError:  # an adapted device, which has a name of its own
        return (), 0
    version = tuple(int(part) for part in re.findall(r"\d+", target.version))
    return version, _VARIANTS.index(target.variant) if target.variant in _VARIANTS else 0


def headlines(known: Sequence[str], most: int = 12, of_a_group: int = 3) -> list[str]:
    """About a dozen targets that stand for all, in the order of `known`.

    One for each piece of hardware: its newest runtime, compiled before eager, in the precision that stands first. Of a
    group of hardware that works alike (NVIDIA's GPUs, x86 CPUs, …) the newest pieces; names that are no targets' stay.
    """
    by_hardware: dict[str, list[str]] = {}
    for name in known:
        by_hardware.setdefault(name.partition(":")[0], []).append(name)
    first = {hardware: max(names, key=_newest) for hardware, names in by_hardware.items()}
    groups: dict[str, list[str]] = {}
    for name in first.values():
        groups.setdefault(_group(name), []).append(name)
    for names in groups.values():
        names.sort(key=_year, reverse=True)
    kept: list[str] = []
    # In turns, so that no group is left out where there are more of them than places.
    for turn in range(of_a_group):
        kept += [names[turn] for names in groups.values() if turn < len(names) and len(kept) < most]
    return [name for name in known if name in kept[:most]]


def _group(name: str) -> str:
    try:
        facts = Target.parse(name).facts
    except ConfigError:
        return name
    return facts.group or facts.kind or facts.name


def _year(name: str) -> int:
    try:
        return Target.parse(name).facts.year or 0
    except ConfigError:
        return 0
