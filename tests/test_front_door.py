"""The package itself: what it offers is what the manual documents, and every example in it runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import narformer
from narformer.errors import NarformerError

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = (REPOSITORY / "docs" / "reference" / "api.md").read_text()
SOURCES = sorted((REPOSITORY / "narformer").rglob("*.py"))
WITH_EXAMPLES = [path for path in SOURCES if ">>>" in path.read_text()]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def test_all_is_what_the_manual_documents() -> None:
    documented = re.findall(r"^::: narformer\.(\w+)$", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted(narformer.__all__)
    assert len(documented) == len(set(documented))


def test_what_the_manual_documents_below_the_front_door_exists() -> None:
    for name in re.findall(r"^::: (narformer(?:\.\w+){2,})$", PAGE, re.MULTILINE):
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_dir_shows_what_a_user_calls_and_nothing_else() -> None:
    shown = [name for name in dir(narformer) if not name.startswith("__")]
    assert shown == sorted(narformer.__all__)
    assert all(hasattr(narformer, name) for name in shown)
    with pytest.raises(AttributeError, match="module 'narformer' has no attribute 'prediktor'"):
        _ = narformer.prediktor  # type: ignore[attr-defined]


def test_a_misspelt_name_is_told_the_nearest() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'predct'; did you mean predict"):
        _ = narformer.predct
    assert not hasattr(narformer, "__wrapped__")


def test_every_name_is_what_the_type_checker_takes_it_for() -> None:
    """The imports for type checkers and the table of homes name the same objects."""
    source = (REPOSITORY / "narformer" / "__init__.py").read_text()
    told = {
        (alias.name, node.module)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("narformer.")
        for alias in node.names
    }
    assert told == set(narformer._HOMES.items())  # type: ignore[attr-defined]
    assert set(narformer.__all__) == set(narformer._HOMES)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", narformer.__all__)
def test_every_name_has_an_example(name: str) -> None:
    found = getattr(narformer, name)
    assert found.__doc__
    if not (inspect.isclass(found) and issubclass(found, NarformerError | Warning)):
        assert ">>> " in found.__doc__


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=[_module(path) for path in WITH_EXAMPLES])
def test_examples_print_what_they_show(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    module = importlib.import_module(_module(path))
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0, "see above what an example printed instead"


def test_no_example_is_skipped() -> None:
    skipped = "doctest: +" + "SKIP"
    pages = [*SOURCES, *REPOSITORY.glob("docs/**/*.md"), REPOSITORY / "README.md"]
    assert [path.name for path in pages if skipped in path.read_text()] == []


def test_the_package_is_imported_without_what_it_offers() -> None:
    """`import narformer` costs next to nothing: neither NumPy nor onnx nor torch comes with it."""
    told = "import sys, narformer; print([m for m in ('numpy', 'onnx', 'onnxruntime', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_nothing_of_the_front_door_needs_torch_but_what_reads_modules() -> None:
    """Every name can be had, and a network predicted, where PyTorch is not installed."""
    script = (
        "import sys; sys.modules['torch'] = None; import narformer; "
        "[getattr(narformer, name) for name in narformer.__all__]; "
        "print(len(narformer.predict('examples/resnet18.onnx', devices='adreno640', measured=False)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
