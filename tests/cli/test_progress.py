"""Progress is for a terminal: elsewhere not a byte is written, and items pass through either way."""

from __future__ import annotations

import sys
import threading

import pytest

from narformer.cli.notes import be_quiet
from narformer.cli.progress import _Lines, bar, busy, track


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
    monkeypatch.setattr("narformer.cli.progress.BAR_S", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich asks whether it writes to a terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert _use_all() == [0, 1, 2, 3, 4]
    out, err = capsys.readouterr()
    assert out == ""
    assert all(text in err for text in ("a bar", "busy", "tracked"))
    assert list(track([1], "too few for a bar", 1, least=2)) == [1]
    assert capsys.readouterr().err == ""


def test_what_is_quick_leaves_nothing_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("narformer.cli.progress.BAR_S", 3600.0)
    assert _use_all() == [0, 1, 2, 3, 4]
    assert capsys.readouterr() == ("", "")


def test_a_log_gets_a_line_now_and_then_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    lines = _Lines("measuring", lambda: now)
    for done in range(1, 201):
        now = float(done)
        lines(done, 200)
    assert capsys.readouterr().err.splitlines() == [
        "narformer: measuring: 10 of 200, about 3.2 min left",
        "narformer: measuring: 70 of 200, about 2.2 min left",
        "narformer: measuring: 130 of 200, about 70 s left",
        "narformer: measuring: 190 of 200, about 10 s left",
    ]
    be_quiet(True)
    try:
        now = 1e4
        lines(150, 200)
    finally:
        be_quiet(False)
    assert capsys.readouterr().err == ""


def test_work_that_cannot_tell_how_far_it_is_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = threading.Event()
    monkeypatch.setattr("narformer.cli.progress.FIRST_S", 0.0)
    monkeypatch.setattr("narformer.cli.progress.tell", lambda text: (print(text), told.set()))
    with busy("fitting"):
        assert told.wait(60)
    assert "narformer: fitting: 0 s so far" in capsys.readouterr().out
