"""Every command that the README and the pages of the manual show: it parses, and what is quick is run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from narformer.cli.main import app

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/**/*.md"))]
_INDENTED = re.compile(r"^    (narformer .*)$", re.MULTILINE)
_INLINE = re.compile(r"`(narformer [^`]*)`")
# Words that stand for the reader's own.
_PLACEHOLDER = re.compile(r"\.\.\.|…|\[|\b[A-Z]{3,}\b(?!=)")


def commands(page: Path) -> list[str]:
    """Command lines of a page, comments cut off, in their order; lines ended by a backslash joined."""
    text = page.read_text().replace("\\\n", " ")
    return [line.split("  #")[0].split(" # ")[0].strip() for line in _INDENTED.findall(text) + _INLINE.findall(text)]


ALL = [(page.relative_to(REPOSITORY).as_posix(), line) for page in PAGES for line in commands(page)]
CONCRETE = [(page, line) for page, line in ALL if not _PLACEHOLDER.search(line)]


def test_the_manual_shows_commands() -> None:
    assert len(ALL) > 40
    assert len(CONCRETE) > 30


@pytest.mark.parametrize(("page", "line"), CONCRETE, ids=[f"{p}: {c}" for p, c in CONCRETE])
def test_commands_parse(page: str, line: str) -> None:
    """Names of commands and options exist, and what an option is given is of its type."""
    words = shlex.split(line)[1:]
    if not words:
        return
    group = typer.main.get_command(app)
    while words and hasattr(group, "commands"):
        if words[0].startswith("-"):
            return  # an option of narformer itself
        assert words[0] in group.commands, f"{page}: there is no command {words[0]!r}"
        group = group.commands[words.pop(0)]
    if not words:  # the command's name alone, as text mentions it
        return
    group.make_context("narformer", words)


@pytest.mark.parametrize(("page", "line"), [x for x in ALL if x not in CONCRETE])
def test_commands_with_placeholders_exist(page: str, line: str) -> None:
    name = shlex.split(line.split("[")[0])[1]
    if not re.fullmatch(r"[a-z-]+", name):
        return
    assert name in typer.main.get_command(app).commands, page  # type: ignore[attr-defined]


def test_pages_link_to_what_exists() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
