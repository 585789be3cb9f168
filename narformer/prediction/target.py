"""What a latency is of: hardware, runtime, precision, and for CPUs the number of threads; together a target.

One grammar, `hardware:runtime[-version][-variant]:precision[:Nt]`:

    rtx4090:pytorch-2.9-compiled:fp16      galaxy-s25-npu:tflite:int8
    cortex-a76:tflite-2.1:fp32             epyc-milan:onnxruntime-1.32:fp32:1t

Batch size is no part of it: it belongs to what is asked, as the sizes of inputs do. Names that are no targets (an
adapted device, a platform of a dataset) are left as they are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from narformer.errors import ConfigError, UnknownDeviceError
from narformer.prediction.hardware import Hardware, hardware

GRAMMAR = "hardware:runtime[-version]:precision[:Nt], for example rtx4090:pytorch-2.9-compiled:fp16"
_NAME = r"[a-z0-9]+(?:[.-][a-z0-9]+)*"
_TARGET = re.compile(rf"(?P<hardware>{_NAME}):(?P<runtime>{_NAME}):(?P<precision>{_NAME})(?::(?P<threads>[1-9]\d*)t)?")
# Ways to run that may follow a runtime's name without a version between.
VARIANTS = ("compiled", "channels-last", "tensorrt", "rocm", "dml", "coreml", "gpu", "npu")
_RUNTIMES: Mapping[str, str] = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "pytorch": "PyTorch",
    "qnn": "QNN",
    "tensorrt": "TensorRT",
    "tflite": "TFLite",
}
_PRECISIONS: Mapping[str, str] = {
    "fp64": "float64",
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "w8a16": "int8 weights, int16 activations",
    "w4a16": "int4 weights, int16 activations",
}

# Names that targets had before they had a grammar: nn-Meter's devices, NNLQP's platform.
_FORMER: Mapping[str, str] = {
    "cortexA76cpu": "cortex-a76:tflite-2.1:fp32",
    "adreno640": "adreno-640:tflite-2.1:fp32",
    "adreno630": "adreno-630:tflite-2.1:fp32",
    "myriadvpu": "myriad-x:openvino-2019r2:fp16",
    "gpu-gtx1660-trt7.1-fp32": "gtx1660:tensorrt-7.1:fp32",
}
# And those of measurements: amd-epyc-milan-onnxruntime1.32-cpu-fp32-t1-b1.
_FORMER_MEASURED = re.compile(
    r"(?P<hardware>[a-z0-9.-]+)-(?P<runtime>[a-z]+)(?P<version>\d+\.\d+)-(?P<processor>[a-z0-9]+)"
    r"-(?P<precision>fp32|fp16|bf16|fp64|int8)-t(?P<threads>\d+)-b(?P<batch>\d+)"
)
# Runtimes that are a way in which another runs.
_COMPILED: Mapping[str, tuple[str, str]] = {"torchcompile": ("pytorch", "compiled")}


@dataclass(frozen=True)
class Target:
    """Hardware, runtime (with version and variant), precision that it computes in, and threads where that is told.

    >>> target = Target.parse("rtx4090:pytorch-2.9-compiled:fp16")
    >>> target.runtime_name, target.version, target.variant
    ('pytorch', '2.9', 'compiled')
    >>> str(target)
    'rtx4090:pytorch-2.9-compiled:fp16'
    """

    hardware: str
    runtime: str
    precision: str = "fp32"
    threads: int | None = None

    def __post_init__(self) -> None:
        if not _TARGET.fullmatch(str(self)):
            raise ConfigError(f"{str(self)!r} is not a target; write {GRAMMAR}")

    def __str__(self) -> str:
        threads = "" if self.threads is None else f":{self.threads}t"
        return f"{self.hardware}:{self.runtime}:{self.precision}{threads}"

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target of an id, of one of those it had formerly too. Raises ConfigError for what is none."""
        match = _TARGET.fullmatch(_FORMER.get(text, text))
        if match is not None:
            threads = match["threads"]
            return cls(match["hardware"], match["runtime"], match["precision"], int(threads) if threads else None)
        former = parse_former(text)
        if former is None:
            raise ConfigError(f"{text!r} is not a target; write {GRAMMAR}")
        return former[0]

    @property
    def runtime_name(self) -> str:
        """The runtime without version and variant: `pytorch`."""
        return self._runtime_parts()[0]

    @property
    def version(self) -> str:
        """The runtime's version, major and minor; empty where it is not told."""
        return self._runtime_parts()[1]

    @property
    def variant(self) -> str:
        """How the runtime runs, where that is not its usual way: `compiled`, `channels-last`; empty otherwise."""
        return self._runtime_parts()[2]

    @property
    def facts(self) -> Hardware:
        """What is known of its hardware."""
        return hardware(self.hardware)

    @property
    def description(self) -> str:
        """For people.

        >>> Target.parse("epyc-milan:onnxruntime-1.32:fp32:1t").description
        'AMD EPYC 7003 (Milan), ONNX Runtime 1.32, float32, 1 thread'
        """
        name, version, variant = self._runtime_parts()
        runtime = " ".join(filter(None, (_RUNTIMES.get(name, name), version)))
        threads = "" if self.threads is None else "1 thread" if self.threads == 1 else f"{self.threads} threads"
        precision = _PRECISIONS.get(self.precision, self.precision)
        return ", ".join(filter(None, (self.facts.title, runtime, variant.replace("-", " "), precision, threads)))

    def _runtime_parts(self) -> tuple[str, str, str]:
        words = self.runtime.split("-")
        place = next((k for k, word in enumerate(words) if word[0].isdigit()), None)
        if place:
            return "-".join(words[:place]), words[place], "-".join(words[place + 1 :])
        variant = next((v for v in VARIANTS if self.runtime.endswith(f"-{v}")), "")
        return self.runtime.removesuffix(f"-{variant}") if variant else self.runtime, "", variant


def canonical_id(text: str) -> str:
    """The id of a target by which it is known now; a text that is no target's stays as it is.

    >>> canonical_id("cortexA76cpu"), canonical_id("my-board")
    ('cortex-a76:tflite-2.1:fp32', 'my-board')
    """
    former = None if text in _FORMER or ":" in text else parse_former(text)
    return _FORMER.get(text, text) if former is None else str(former[0])


def parse_former(text: str) -> tuple[Target, int] | None:
    """Target and batch size of an id as measurements had it formerly; None for any other text.

    >>> parse_former("amd-epyc-milan-onnxruntime1.32-cpu-fp32-t1-b8")
    (Target(hardware='epyc-milan', runtime='onnxruntime-1.32', precision='fp32', threads=1), 8)
    """
    match = _FORMER_MEASURED.fullmatch(text)
    if match is None:
        return None
    parts = (match["runtime"], match["version"], match["processor"], match["precision"], int(match["threads"]))
    return measured_target(re.sub(r"[.-]{2,}", "-", match["hardware"]).strip(".-") or "unknown", *parts), int(
        match["batch"]
    )


def measured_target(
    machine: str, runtime: str, version: str, processor: str, precision: str = "fp32", threads: int = 1
) -> Target:
    """The target of what is measured on a machine: a runtime's way to run on its processor ("cpu", "cuda", ...).

    machine: its hardware's name or alias. Threads are a CPU's; other processors than a CPU, and CUDA on a GPU, are
    variants of the runtime.
    """
    name, variant = _COMPILED.get(runtime, (runtime, ""))
    way = "-".join(filter(None, (name, version, variant, "" if processor in ("cpu", "cuda") else processor)))
    return Target(hardware(machine).name, way, precision, max(threads, 1) if processor == "cpu" else None)


def select(wanted: Iterable[str], known: Sequence[str]) -> list[str]:
    """The targets, among those known, that some texts stand for: in the order asked for, each once.

    A text is an id (also a former one, or any name among `known`), a hardware's name, which stands for all its targets,
    the first parts of an id, or a beginning that only one target, or the targets of only one hardware, have.
    Raises UnknownDeviceError, in one line that names the nearest, for what stands for none or for several.

    >>> known = ["rtx4090:pytorch-2.9:fp16", "rtx4090:pytorch-2.9-compiled:fp16", "cortex-a76:tflite-2.1:fp32"]
    >>> select(["rtx4090"], known)
    ['rtx4090:pytorch-2.9:fp16', 'rtx4090:pytorch-2.9-compiled:fp16']
    >>> select(["cortex", "rtx4090:pytorch-2.9-c"], known)
    ['cortex-a76:tflite-2.1:fp32', 'rtx4090:pytorch-2.9-compiled:fp16']
    """
    names = frozenset(known)
    found: dict[str, None] = {}
    for text in wanted:
        found |= dict.fromkeys([text] if text in names else _standing_for(text, known))
    return list(found)


def _standing_for(text: str, known: Sequence[str]) -> list[str]:
    """The targets that a text stands for which is no name among those known."""
    asked = canonical_id(text)
    if asked in known:
        return [asked]
    lower = asked.lower()
    lower = ":".join((hardware(lower.partition(":")[0]).name, *lower.split(":")[1:]))
    whole = [target for target in known if f"{target.lower()}:".startswith(f"{lower}:")]
    if whole:
        return whole
    begun = [target for target in known if target.lower().startswith(lower)] if lower else []
    if len(begun) == 1 or (begun and ":" not in lower and len({t.partition(":")[0] for t in begun}) == 1):
        return begun
    if begun:
        raise UnknownDeviceError(f"{text}: stands for several targets ({_listed(begun)}); write more of one")
    names = list(dict.fromkeys([*known, *(target.partition(":")[0] for target in known)]))
    near = difflib.get_close_matches(lower, names, n=3, cutoff=0.5)
    if "," in text:
        told = "several are given one by one, as in --device A --device B or devices=[A, B];"
    else:
        told = f"did you mean {' or '.join(near)}?" if near else f"there are {_listed(known)};"
    raise UnknownDeviceError(f"unknown target {text}: {told} `narformer devices` lists all")


def _listed(targets: Sequence[str], most: int = 6) -> str:
    more = f" and {len(targets) - most} more" if len(targets) > most else ""
    return f"{', '.join(targets[:most])}{more}" or "none"
