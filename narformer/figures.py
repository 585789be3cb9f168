"""How numbers are printed to people."""

from __future__ import annotations

import math
from collections.abc import Sequence


def milliseconds(value: float) -> str:
    """Three significant digits, without an exponent: nothing that takes time is printed as 0.00.

    >>> milliseconds(0.00123), milliseconds(9.996), milliseconds(1234.5)
    ('0.00123', '10.0', '1,234')
    """
    if not value > 0 or math.isinf(value):
        return f"{value:.2f}"
    exponent = int(f"{value:.2e}".partition("e")[2])  # of the rounded number: 9.996 is 10.0
    return f"{value:,.{max(2 - exponent, 0)}f}"


def count(value: float) -> str:
    """Three significant digits with a decimal prefix, ready for a unit.

    >>> count(1814073344) + "MACs", count(512) + "B"
    ('1.81 GMACs', '512 B')
    """
    prefixes = ["", "k", "M", "G", "T"]
    while value >= 999.5 and len(prefixes) > 1:
        value /= 1000
        prefixes.pop(0)
    prefix = prefixes[0]
    digits = 0 if value >= 99.95 or prefix == "" else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {prefix}"


def sizes(shape: Sequence[int]) -> str:
    """A shape as people write it, and as --input-shape takes it.

    >>> sizes((1, 3, 224, 224)), sizes(())
    ('1x3x224x224', 'scalar')
    """
    return "x".join(map(str, shape)) or "scalar"


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(41.7), duration(150), duration(7500)
    ('42 s', '2.5 min', '2 h 5 min')
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{seconds / 60:.1f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
