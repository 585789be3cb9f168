"""What this machine is called, and what a network computes in: what the target of a measurement is made of."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from narformer.graph import Graph
from narformer.prediction.hardware import hardware as known
from narformer.prediction.target import Target

# Names of processors whose own name leaves open what they are, as virtual machines do: (vendor, family, model).
_MICROARCHITECTURES: Mapping[tuple[str, int, int], str] = {
    ("AuthenticAMD", 23, 1): "naples",
    ("AuthenticAMD", 23, 49): "rome",
    ("AuthenticAMD", 25, 1): "milan",
    ("AuthenticAMD", 25, 17): "genoa",
    ("AuthenticAMD", 25, 160): "bergamo",
    ("AuthenticAMD", 26, 2): "turin",
    ("GenuineIntel", 6, 85): "cascadelake",
    ("GenuineIntel", 6, 106): "icelake",
    ("GenuineIntel", 6, 143): "sapphirerapids",
    ("GenuineIntel", 6, 207): "emeraldrapids",
}
# Arm's cores say numbers only: (implementer, part), from Arm's technical reference manuals.
_ARM_CORES: Mapping[tuple[int, int], str] = {
    (0x41, 0xD03): "cortex-a53",
    (0x41, 0xD05): "cortex-a55",
    (0x41, 0xD07): "cortex-a57",
    (0x41, 0xD08): "cortex-a72",
    (0x41, 0xD0A): "cortex-a75",
    (0x41, 0xD0B): "cortex-a76",
    (0x41, 0xD0C): "neoverse-n1",
    (0x41, 0xD40): "neoverse-v1",
    (0x41, 0xD49): "neoverse-n2",
    (0x41, 0xD4F): "neoverse-v2",
}
_NOISE = re.compile(
    r"\((r|tm)\)|@.*|\b\d+-core\b|\bwith .*|\b(cpu|processor|corporation|gen)\b|\b\d+(st|nd|rd|th)\b", re.IGNORECASE
)
_QUANTISED = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")


def target_of(target: Target, graph: Graph) -> Target:
    """A target as it runs one network: computing in the network's own precision."""
    return replace(target, precision=precision(graph))


def precision(graph: Graph) -> str:
    """What a network computes in, by its operators and the types of its inputs and weights."""
    if any(node.op in _QUANTISED for node in graph.nodes):
        return "int8"
    types = {t.dtype for t in graph.inputs} | {o.tensor.dtype for node in graph.nodes for o in node.weights}
    for dtype, name in (("float16", "fp16"), ("bfloat16", "bf16"), ("float64", "fp64")):
        if dtype in types and "float32" not in types:
            return name
    return "fp32"


def short_version(version: str) -> str:
    """Major and minor: patches of a runtime do not change its kernels.

    >>> short_version("2.13.0+cpu")
    '2.13'
    """
    match = re.match(r"\d+\.\d+", version)
    return match.group() if match else "0.0"


def slug(name: str) -> str:
    """A name in lower-case letters, digits and single hyphens, without what says nothing.

    >>> slug("Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz")
    'intel-xeon-platinum-8370c'
    """
    return re.sub(r"[^a-z0-9]+", "-", _NOISE.sub(" ", name).lower()).strip("-")


def cpu_hardware() -> str:
    """The processor of this machine, as a slug; "unknown-cpu" where nothing tells."""
    try:
        return slug_of_cpuinfo(Path("/proc/cpuinfo").read_text())
    except OSError:
        pass
    if platform.system() == "Darwin":
        told = _output(["sysctl", "-n", "machdep.cpu.brand_string"])
        if told:
            return slug(told)
    return slug(platform.processor()) or "unknown-cpu"


def slug_of_cpuinfo(text: str) -> str:
    """The slug of Linux's /proc/cpuinfo: vendor and name, and the microarchitecture where the name has no number."""
    first = dict(re.findall(r"^([^\n:]*?)[ \t]*:[ \t]*(.*)$", text.split("\n\n")[0], re.MULTILINE))
    if "model name" in first and "vendor_id" in first:
        name = slug(first["model name"])
        if not re.search(r"\d", name):
            key = (first["vendor_id"], int(first.get("cpu family", 0)), int(first.get("model", 0)))
            name = "-".join(filter(None, (name, _MICROARCHITECTURES.get(key))))
        return name or "unknown-cpu"
    parts = re.findall(r"CPU implementer\s*:\s*(0x[0-9a-f]+).*?CPU part\s*:\s*(0x[0-9a-f]+)", text, re.DOTALL)
    # The last is a big core where there are several kinds.
    core = _ARM_CORES.get((int(parts[-1][0], 16), int(parts[-1][1], 16))) if parts else None
    board = dict(re.findall(r"^(Model|Hardware)\s*:\s*(.*)$", text, re.MULTILINE))
    whole = slug(board.get("Model") or board.get("Hardware") or "")
    return "-".join(filter(None, (whole, core))) or "unknown-cpu"


def gpu_hardware() -> str:
    """The first GPU of NVIDIA, as a slug; "unknown-gpu" where there is none."""
    told = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return slug(told.splitlines()[0]) if told else "unknown-gpu"


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def hardware(processor: str) -> str:
    """What a runtime's processor ("cpu", "cuda", ...) is on this machine, by the name that its targets have."""
    return known(gpu_hardware() if processor in ("cuda", "tensorrt") else cpu_hardware()).name


def machine() -> str:
    """What a target's id leaves out: processor as it calls itself, cores, memory, system and Python.

    One line, for people: `AMD EPYC 7763 64-Core Processor, 2 cores, 24 GiB; Linux 6.1, Python 3.12.3`.
    """
    name = ""
    with contextlib.suppress(OSError):
        match = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        name = match.group(1).strip() if match else ""
    parts = [name or platform.processor() or platform.machine(), f"{os.cpu_count()} cores"]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not every system says
        parts.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB")
    system = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    return f"{', '.join(parts)}; {system}, Python {platform.python_version()}"
