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
