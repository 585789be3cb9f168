"""One network is one network, whichever exporter wrote it and whatever optimised it: a small part of
benchmarks/exporters.py, which compares more forms and real networks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
NAMES = (
    *("resnet", "densenet", "mobilenet", "efficientnet", "convnext", "vit", "swin", "bert", "decoder", "lstm", "u-net"),
    "detector",
)
FORMS = (
    *("torchscript-17", "torchscript-11", "torchscript-17 basic", "torchscript-17 extended", "torchscript-17 onnxslim"),
    *("dynamo-18", "dynamo-18 extended"),
)
# Blocks of channels depend on the processor: where they do not fit, filters are padded, and nothing tells to what.
BLOCKED = ("bert", "decoder", "lstm", "vit")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def exporters() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import exporters

        yield exporters
    for name in ("exporters", "exported_networks", "exported_blocks", "torch_networks"):
        sys.modules.pop(name, None)


def compared(exporters: ModuleType, name: str, wanted: tuple[str, ...]) -> None:
    """All these forms have the hash and the tokens of the first."""
    build = exporters.NETWORKS[name]
    trained, fresh = exporters.example(build), exporters.example(build, False)
    made = exporters.forms
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporters, "forms", lambda *given: {k: v for k, v in made(*given).items() if k in wanted})
        rows = list(exporters.compared(name, trained, fresh, predicted=False))
    assert [row.form for row in rows] == [form for form in made(trained, fresh, Path()) if form in wanted]
    assert [(row.form, row.failed, row.same_hash, row.same_tokens) for row in rows] == [
        (row.form, "", True, True) for row in rows
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_form_of_a_network_is_that_network(exporters: ModuleType, name: str) -> None:
    compared(exporters, name, FORMS + (("torchscript-17 all",) if name in BLOCKED else ()))


@pytest.mark.parametrize("name", ["resnet", "bert"])
def test_a_fresh_network_and_a_trained_one_are_one(exporters: ModuleType, name: str) -> None:
    compared(exporters, name, ("torchscript-17", "torchscript-17 fresh", "dynamo-18 fresh"))


def test_every_spelling_of_a_network_is_that_network(exporters: ModuleType, tmp_path: Path) -> None:
    from exported_networks import SPELLINGS, example

    from narformer.frontends.canonical import canonical
    from narformer.frontends.onnx import read_onnx

    for name, spellings in SPELLINGS.items():
        hashes = set()
        for build in spellings:
            with exporters.quiet():
                exporters.torchscript(*example(build), 17, tmp_path / "network.onnx")
            hashes.add(canonical(read_onnx(tmp_path / "network.onnx")).hash)
        assert len(hashes) == 1, name
