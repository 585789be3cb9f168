"""Progress is for a terminal: elsewhere not a byte is written, and items pass through either way."""

from __future__ import annotations

import sys

import pytest

from narformer.cli.progress import bar, busy, track


def _use_all() -> list[int]:
    with bar("a bar") as show:
        show(1, 2)
    with busy("busy"):
        pass
    return list(track(iter(range(5)), "tracked", 5))


def test_a_log_stays_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert _use_all() == [0, 1, 2, 3, 4]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_it_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich asks whether it writes to a terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert _use_all() == [0, 1, 2, 3, 4]
    out, err = capsys.readouterr()
    assert out == ""
    assert all(text in err for text in ("a bar", "busy", "tracked"))
    assert list(track([1], "too few for a bar", 1, least=2)) == [1]
    assert capsys.readouterr().err == ""
