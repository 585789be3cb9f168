"""How many models are read: onnx's own backend tests, exports from PyTorch, and what ONNX Runtime makes of those.

python benchmarks/corpus.py [--quick] [--json]

Everything is made in the run. A model that needs shapes or values of its inputs is read once more with those of its
test; one that is refused is listed with the reason. --quick leaves out the slow exporter.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from rich.progress import Progress

from narformer.errors import NarformerError
from narformer.frontends.onnx import read_onnx

OPSETS = (7, 9, 11, 13, 16, 18, 20)
DYNAMO_OPSETS = (18, 23)


@dataclass(frozen=True)
class Case:
    """One model; values: its test's inputs by name, where it has one."""

    source: str
    name: str
    model: onnx.ModelProto
    values: dict[str, object] = field(default_factory=dict)


@dataclass
class Tally:
    models: int = 0
    read: int = 0
    bound: int = 0
    refused: list[str] = field(default_factory=list)


def backend_files() -> Iterator[Case]:
    """The model files inside the wheel of onnx."""
    root = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for path in sorted(root.rglob("*.onnx")):
        yield Case("onnx wheel, files", path.parent.name, onnx.load(path, load_external_data=False))


def backend_nodes() -> Iterator[Case]:
    """The models that the wheel's test generators make: every operator, many also expanded into simpler ones."""
    from onnx.backend.test.case.node import collect_testcases

    for case in collect_testcases(None):
        inputs = case.data_sets[0][0] if case.data_sets else []
        yield Case(
            "onnx wheel, operators",
            case.name,
            case.model,
            dict(zip((i.name for i in case.model.graph.input), inputs, strict=False)),
        )


def exports(quick: bool) -> Iterator[Case]:
    """PyTorch's tracing exporter over opsets and with a dynamic batch; its torch.export-based one, unless quick."""
    import torch
    from torch_networks import NETWORKS, example

    for name in NETWORKS:
        module, inputs = example(name)
        for opset in OPSETS:
            file = io.BytesIO()
            try:
                torch.onnx.export(module, inputs, file, dynamo=False, opset_version=opset)
            except Exception:  # the exporter's own limits: not every network exists in every opset
                continue
            yield Case("PyTorch, traced", f"{name}, opset {opset}", onnx.load_from_string(file.getvalue()))
        names = [f"x{k}" for k in range(len(inputs))]
        file = io.BytesIO()
        axes = {n: {0: "batch"} for n in names}
        with contextlib.suppress(Exception):
            torch.onnx.export(
                module, inputs, file, dynamo=False, opset_version=17, input_names=names, dynamic_axes=axes
            )
            yield Case("PyTorch, dynamic batch", name, onnx.load_from_string(file.getvalue()))
        for opset in () if quick else DYNAMO_OPSETS:
            try:
                program = torch.onnx.export(module, inputs, dynamo=True, opset_version=opset, verbose=False)
            except Exception:  # as above
                continue
            yield Case("PyTorch, torch.export", f"{name}, opset {opset}", program.model_proto)


def transformed(cases: list[Case]) -> Iterator[Case]:
    """Exports, quantised in every form and optimised by ONNX Runtime."""
    from onnxruntime.quantization import QuantFormat, quantize_dynamic, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Once(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, model: onnx.ModelProto) -> None:
            self.feeds = iter([_random_inputs(model)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        for case in cases:
            before.write_bytes(case.model.SerializeToString())
            forms = {
                "quantised, dynamic": lambda: quantize_dynamic(before, after),
                "quantised, QDQ": lambda m=case.model: quantize_static(
                    before, after, Once(m), quant_format=QuantFormat.QDQ
                ),
                "quantised, QOperator": lambda m=case.model: quantize_static(
                    before, after, Once(m), quant_format=QuantFormat.QOperator
                ),
                "optimised, extended": lambda: _optimise(before, after, "ORT_ENABLE_EXTENDED"),
                "optimised, all": lambda: _optimise(before, after, "ORT_ENABLE_ALL"),
            }
            for form, make in forms.items():
                after.unlink(missing_ok=True)
                with contextlib.suppress(Exception):  # the tools' own limits
                    make()
                if after.exists():
                    yield Case(f"ONNX Runtime, {form}", case.name, onnx.load(after))
            after.unlink(missing_ok=True)
            with contextlib.suppress(Exception):
                from onnxruntime.transformers import optimizer

                optimizer.optimize_model(str(before), num_heads=4, hidden_size=24).save_model_to_file(str(after))
                yield Case("ONNX Runtime, transformer fusions", case.name, onnx.load(after))


def _optimise(before: Path, after: Path, level: str) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(after)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(before), options, providers=["CPUExecutionProvider"])


def _random_inputs(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feeds = {}
    for info in model.graph.input:
        shape = [d.dim_value or 1 for d in info.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        feeds[info.name] = (rng.random(shape) * 4).astype(dtype)
    return feeds


def read(case: Case, tally: Tally) -> None:
    """Read one model, with its test's inputs if it asks for them."""
    tally.models += 1
    try:
        read_onnx(case.model, name=case.name)
        tally.read += 1
        return
    except NarformerError as error:
        reason = str(error)
    arrays = {k: np.asarray(v[0] if isinstance(v, list) and v else v) for k, v in case.values.items() if v is not None}
    held = {k: a for k, a in arrays.items() if a.dtype.kind in "iufb" and a.size <= 1024}
    shapes = {k: a.shape for k, a in arrays.items() if a.dtype != object}
    lists = {k for k, v in case.values.items() if isinstance(v, list)}
    try:
        if not arrays:
            raise NarformerError(reason)
        read_onnx(
            case.model,
            input_shapes={k: s for k, s in shapes.items() if k in lists},
            input_values={k: a for k, a in held.items() if k not in lists},
            name=case.name,
        )
        tally.bound += 1
    except NarformerError:
        tally.refused.append(reason)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Exporters print whole graphs about what they cannot export, some of it from C++."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    tallies: dict[str, Tally] = {}
    exported: list[Case] = []
    with Progress(transient=True) as progress:
        for label, cases in (
            ("onnx wheel", backend_files()),
            ("operators", backend_nodes()),
            ("exports", exports(options.quick)),
            ("transformed", transformed(exported)),
        ):
            task = progress.add_task(label, total=None)
            with _silence():
                for case in cases:
                    if case.name.endswith("opset 16") and case.source == "PyTorch, traced":
                        exported.append(case)
                    read(case, tallies.setdefault(case.source, Tally()))
                    progress.advance(task)
    if options.json:
        print(json.dumps({source: vars(tally) for source, tally in tallies.items()}, indent=1))
        return
    total = Tally()
    print(f"{'source':38s} {'models':>7s} {'read':>7s} {'with inputs':>12s} {'refused':>8s}")
    for source, tally in tallies.items():
        total.models += tally.models
        total.read += tally.read
        total.bound += tally.bound
        total.refused += tally.refused
        print(f"{source:38s} {tally.models:7d} {tally.read:7d} {tally.bound:12d} {len(tally.refused):8d}")
    print(f"{'all':38s} {total.models:7d} {total.read:7d} {total.bound:12d} {len(total.refused):8d}")
    print(f"read: {100 * (total.read + total.bound) / total.models:.2f} %")
    for reason in total.refused:
        print("refused:", reason)


if __name__ == "__main__":
    main()
