"""What one network costs the process that hands networks out to a fleet, and how many machines that keeps busy.

python benchmarks/fleet.py MODEL... [--store URL]

The processor time of this process alone: reading a file, asking the store for it, taking its weights out, writing a
result. No cluster is needed, and what Ray itself takes is not in it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from narformer.fleet.measuring import sendable
from narformer.measurement.jobs import Result
from narformer.measurement.session import Network, Recorder
from narformer.measurement.store import Store
from narformer.prediction.target import Target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--store", help="default: a SQLite file of its own")
    arguments = parser.parse_args()
    store = arguments.store or str(Path(tempfile.mkdtemp()) / "store.db")
    sent, begun = [], time.process_time()
    with Store.open(store) as opened:
        recorder = Recorder(Target("alpha", "onnxruntime-1.32", "fp32", 1), opened, "benchmark")
        for path in arguments.models:
            network = Network(str(path), path)
            read = network.open()
            recorder.known(network, read.graph)
            sent.append(sendable(read.job).source)
            recorder.record(network, read.graph, Result(10.0, 0.1, 20, 4.0))
    each = (time.process_time() - begun) / len(sent)
    sizes = sorted(len(content) for content in sent)
    print(
        f"{len(sent)} networks: {1e3 * each:.1f} ms of processor time each; "
        f"{sizes[len(sizes) // 2] / 1e3:.0f} kB sent (median)"
    )
    print(f"at 3 s a network on a machine enough for {3 / each:.0f} machines, without what Ray itself takes")


if __name__ == "__main__":
    main()
