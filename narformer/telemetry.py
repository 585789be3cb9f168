"""ONNX Runtime, imported so that it reports nothing to its makers.

Its builds for Windows, and from 1.32 on those for Linux too, write down which networks they load and send it to
Microsoft. They look at an environment variable while they are imported, and at nothing else soon enough.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

OFF = "ORT_DISABLE_TELEMETRY"


def onnxruntime_without_telemetry() -> ModuleType:
    """The module `onnxruntime`. Where this process has imported it already, it is as it was imported then.

    Raises ImportError where it is not installed.
    """
    imported = sys.modules.get("onnxruntime")
    if imported is not None:
        return imported
    before = os.environ.get(OFF)
    os.environ[OFF] = "1"
    try:
        import onnxruntime
    finally:
        if before is None:
            del os.environ[OFF]
        else:
            os.environ[OFF] = before
    onnxruntime.disable_telemetry_events()  # what older builds for Windows listen to
    module: ModuleType = onnxruntime
    return module
