"""Numbers for people."""

from __future__ import annotations

import pytest

from narformer.figures import milliseconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.000123, "0.000123"),
        (0.0026, "0.00260"),
        (0.1234, "0.123"),
        (9.87, "9.87"),
        (9.996, "10.0"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1_234_567.0, "1,234,567"),
    ],
)
def test_milliseconds(value: float, text: str) -> None:
    assert milliseconds(value) == text
