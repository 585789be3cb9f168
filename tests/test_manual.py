"""What the README and the manual say was printed or measured is what the commands print and the results say now."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer

from narformer.prediction.predictor import DEFAULT, Predictor

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))
import manual  # noqa: E402

PARTS = [part for page in manual.pages() for part in manual.parts(page)]
REMEDY = "run: python benchmarks/manual.py"


def same(shown: str, made: str) -> bool:
    """The same words, and numbers that differ by at most 3 %: other processors round otherwise."""
    ours, theirs = shown.split(), made.split()
    return len(ours) == len(theirs) and all(map(near, ours, theirs))


def near(one: str, other: str) -> bool:
    try:
        return one == other or float(one.replace(",", "")) == pytest.approx(float(other.replace(",", "")), rel=0.03)
    except ValueError:
        return False


def test_there_are_parts_that_are_made() -> None:
    assert {part.page.name for part in PARTS} >= {"README.md", "tally2.md", "first-prediction.md"}


@pytest.mark.parametrize("part", PARTS, ids=[f"{p.page.name}: {p.made_by}" for p in PARTS])
def test_what_a_page_says_is_what_is_so(part: manual.Part) -> None:
    made = manual.made(part.made_by)
    assert same(part.text, made), f"{part.page.name} says\n{part.text}\nbut it is now\n{made}\n{REMEDY}"


def test_the_card_and_the_page_of_results_tell_the_same_errors() -> None:
    """`python benchmarks/held_out.py` makes the first, `narformer evaluate --predictor tally2` the second."""
    card = {output.device: output.held_out for output in Predictor.load().card.outputs}
    compared = 0
    for path in (REPOSITORY / "docs" / "results").glob(f"*.full.{DEFAULT}.json"):
        result = json.loads(path.read_text())
        if result.get("epochs") is not None or "in-domain" not in result["runs"][0].get("tasks", {}):
            continue  # of trainings, not of what is shipped
        for target, table in result["runs"][0]["tasks"]["in-domain"]["devices"].items():
            told = {name: card[target][name] for name in ("rows", "mape", "acc_10", "coverage")}
            assert told == pytest.approx({name: table["all"][name] for name in told}, abs=0.01), (path.name, target)
            compared += 1
    # The H100's few test rows have no protocol of their own; its page tells networks left out (pytorch-gpu).
    assert compared == len([d for d, held_out in card.items() if held_out["rows"] and not d.startswith("h100:")])


def test_other_words_and_numbers_are_told() -> None:
    assert same("a 35.6 ms", "a  35.7\nms")
    assert not same("a 35.6 ms", "a 38 ms")
    assert not same("a 35.6 ms", "b 35.6 ms")
    assert not same("a 35.6 ms", "a 35.6 ms more")


def test_the_reference_has_every_command_and_option() -> None:
    from narformer.cli.main import app

    text = manual.on_page_markdown("<!-- commands -->")
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        if command.hidden:
            continue
        inner = getattr(command, "commands", {"": command})
        for below, leaf in inner.items():
            title = f"## {name} {below}".strip()
            assert f"\n{title}\n" in text
            section = text.split(f"\n{title}\n")[1].split("\n## ")[0]
            for parameter in leaf.params:
                if not getattr(parameter, "hidden", False) and parameter.opts[0].startswith("--"):
                    assert parameter.opts[0] in section, f"{title}: {parameter.opts[0]}"
