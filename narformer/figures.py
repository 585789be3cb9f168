"""How numbers are printed to people."""

from __future__ import annotations

import math


def milliseconds(value: float) -> str:
    """Three significant digits, without an exponent: nothing that takes time is printed as 0.00."""
    if not value > 0 or math.isinf(value):
        return f"{value:.2f}"
    exponent = int(f"{value:.2e}".partition("e")[2])  # of the rounded number: 9.996 is 10.0
    return f"{value:,.{max(2 - exponent, 0)}f}"
