"""Every command and every example of the README and the manual: it parses, and runs in a directory made for it."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import typer
from manual_files import write_files

from narformer.cli import main as cli
from narformer.measurement import session
from narformer.measurement.jobs import Job, Result, Setup

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/**/*.md"))]
_BLOCK = re.compile(r"^ *```(?:sh|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^    (narformer .*)$", re.MULTILINE)
_INLINE = re.compile(r"`(narformer [^`]*)`")
_PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Words that stand for the reader's own.
_PLACEHOLDER = re.compile(r"\.\.\.|…|\[|\b[A-Z]{3,}\b(?!=)")
# Commands of the manual that no test of this file runs, and why. They parse; tests of their own run them on less.
NOT_RUN = {
    r"^narformer (train|evaluate|report)\b": "hours of training; tests/cli and tests/training, on a few networks",
    r"^narformer serve\b": "runs until it is stopped; tests/server",
    r"--server\b": "asks a service; tests/test_client.py",
    r"^narformer (search|fit-cells)\b": "needs a public table; tests/cells",
    r"^narformer rank\b": "scores a whole space, which takes a minute; tests/cells ranks few cells",
    r"^narformer families check\b": "needs a public table; tests/families",
    r"--dataset nnmeter\b": "needs a public table; tests/evaluation",
    r"^narformer fleet\b|--fleet\b": "needs Ray; tests/fleet",
    r"--(install|show)-completion\b": "changes the set-up of the user's shell; tests/cli",
    r"--input-data\b": "needs arrays; tests/cli/test_measure.py",
    r"postgresql": "needs a server; tests/measurement",
}
# Pages whose Python is run elsewhere or cannot be, and why.
PYTHON_NOT_RUN = {
    "docs/how-to/fleet.md": "needs Ray; tests/fleet",
    "docs/how-to/serve.md": "asks a service; tests/test_client.py",
    "docs/reference/operators.md": "registers an operator for the whole process; tests/test_operators.py",
    "docs/explanation/architecture.md": "an excerpt",
}


def shown(page: Path) -> list[str]:
    """Command lines that a page shows by themselves, comments cut off, in their order."""
    text = page.read_text().replace("\\\n", " ")
    found = [(m.start(), m[1]) for m in _INDENTED.finditer(text)]
    for block in _BLOCK.finditer(text):
        lines = block[1].splitlines()
        found += [(block.start(), line) for line in (line.strip() for line in lines) if line.startswith("narformer")]
    return [re.split(r"\s#\s", line)[0].strip() for _, line in sorted(found, key=lambda pair: pair[0])]


def commands(page: Path) -> list[str]:
    """All command lines of a page, those in sentences too."""
    return shown(page) + [line.strip() for line in _INLINE.findall(page.read_text())]


def name(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


ALL = list(dict.fromkeys((name(page), line) for page in PAGES for line in commands(page)))
CONCRETE = [(page, line) for page, line in ALL if not _PLACEHOLDER.search(line)]
# What is generated from results, and notes of a day, are no part of the manual.
MANUAL = [page for page in PAGES if not name(page).startswith(("docs/research/", "docs/results/"))]
WITH_COMMANDS = [page for page in MANUAL if shown(page)]
WITH_PYTHON = [page for page in MANUAL if _PYTHON.search(page.read_text()) and name(page) not in PYTHON_NOT_RUN]


def words_of(line: str) -> list[str]:
    """The arguments of a command line, up to where its output goes."""
    return shlex.split(re.split(r"\s(?:>|\||&&)", line)[0])[1:]


class InstantSupervisor:
    """Stands for the process that measures: a latency at once, longer for larger networks."""

    def __init__(self, setup: Setup, timeout_s: float) -> None:
        self.timeout_s = timeout_s

    def measure(self, job: Job) -> Result:
        return Result(1.0 + len(repr(job)) % 7, 0.1, 20, 1.0, 1 << 20)

    def stop(self) -> None:
        pass


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader of the manual has: the examples and a few networks; measuring takes no time."""
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "Supervisor", InstantSupervisor)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def test_the_manual_shows_commands() -> None:
    assert len(ALL) > 40
    assert len(CONCRETE) > 30


@pytest.mark.parametrize(("page", "line"), CONCRETE, ids=[f"{p}: {c}" for p, c in CONCRETE])
def test_commands_parse(page: str, line: str) -> None:
    """Names of commands and options exist, and what an option is given is of its type."""
    words = words_of(line)
    if not words:
        return
    group = typer.main.get_command(cli.app)
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
    command = shlex.split(line.split("[")[0])[1]
    if not re.fullmatch(r"[a-z-]+", command):
        return
    assert command in typer.main.get_command(cli.app).commands, page  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=[name(page) for page in WITH_COMMANDS])
def test_commands_run_in_their_order(
    page: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one who types what a page shows. Exit code 3, a limit that is exceeded, is what the manual shows too."""
    for line in shown(page):
        if _PLACEHOLDER.search(line) or any(re.search(pattern, line) for pattern in NOT_RUN):
            continue
        words = [found for word in words_of(line) for found in expanded(word)]
        monkeypatch.setattr(sys, "argv", ["narformer", *fewer(words)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        told = capsys.readouterr()
        assert code in ((0, 3) if "--max-ms" in words else (0,)), f"{line}\n{told.err}"


def expanded(word: str) -> list[str]:
    """As a shell does it: *.onnx is all files of that kind, where there are any."""
    return (sorted(map(str, Path().glob(word))) if "*" in word else []) or [word]


def fewer(words: list[str]) -> list[str]:
    """The same command with fewer networks to measure and fewer vectors to compute."""
    few = {"--samples": "3", "--networks": "2", "--count": "2"}
    return [few.get(before, word) for before, word in zip(["", *words], words, strict=False)]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=[name(page) for page in WITH_PYTHON])
@pytest.mark.usefixtures("directory")
def test_python_runs_in_its_order(page: Path) -> None:
    """The blocks of a page, one after the other, in one namespace."""
    space: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(_PYTHON.findall(page.read_text())):
        exec(compile(block, f"{name(page)}, block {number + 1}", "exec"), space)


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_what_is_not_run_is_in_the_manual(pattern: str) -> None:
    """The list of exceptions has none that nobody needs."""
    assert any(re.search(pattern, line) for page in WITH_COMMANDS for line in shown(page))


def test_pages_link_to_what_exists() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_is_reached_from_the_index_and_the_index_from_the_readme() -> None:
    docs = REPOSITORY / "docs"
    linked = {(docs / target).resolve() for target in re.findall(r"\]\(([^)#:]+)", (docs / "index.md").read_text())}
    pages = {page for page in docs.rglob("*.md") if page.parent.name != "research"}
    assert pages - linked == {docs / "index.md"}
    research = docs / "research" / "README.md"
    dated = {(research.parent / target).resolve() for target in re.findall(r"\]\(([^)#:]+)", research.read_text())}
    assert set(research.parent.glob("*.md")) - dated == {research}
    assert "(docs/index.md)" in (REPOSITORY / "README.md").read_text()


@pytest.mark.parametrize("page", MANUAL, ids=map(name, MANUAL))
def test_code_fits_in_a_hundred_columns(page: Path) -> None:
    if page.name == "architecture.md":
        return  # the tree of the package, a line a directory
    text = page.read_text()
    blocks = re.findall(r"^ *```.*?\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"^(    (?:narformer|python|pip|make) .*)$", text, re.MULTILINE)
    assert [line for block in blocks for line in block.splitlines() if len(line) > 100] == []


ARCHITECTURE = (REPOSITORY / "docs" / "explanation" / "architecture.md").read_text()


def test_what_is_new_touches_two_files_at_most_and_those_exist() -> None:
    table = ARCHITECTURE.partition("## Files to touch")[2]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ") and "| files |" not in line]
    assert len(rows) > 12
    for new, files in rows:
        paths = [path for path in re.findall(r"`([^`]+)`", files) if "/" in path]
        assert len(paths) <= 2, new
        for path in paths:
            known = path.rpartition("NAME")[0] or path
            assert list((REPOSITORY / "narformer").glob(known.rstrip("/"))), path


def test_the_tree_of_the_package_names_files_that_exist() -> None:
    tree = ARCHITECTURE.partition("## The package")[2].split("```")[1]
    there = {path.name for path in (REPOSITORY / "narformer").rglob("*.py")}
    named = set(re.findall(r"(?<![*\w])[a-z_0-9]+\.py\b", tree))
    assert len(named) > 80
    assert sorted(named - there) == []
