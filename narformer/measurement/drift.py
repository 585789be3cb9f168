"""How slow is the device at this moment? A small network of our own is timed again and again between the others.

Its time over its very first time on this device is the drift; a latency is divided by it. Heat, a neighbour on the
same host or a lower clock slow both alike, so the quotient stays.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from statistics import median

import onnx

from narformer.families.builder import NetworkBuilder
from narformer.measurement.timing import Clock, Plan, Run, time_runs

REFERENCE_NAME = "narformer-reference"
# A moment's time of it: some twenty runs.
REFERENCE_PLAN = Plan(budget_s=0.06, target=0.0, warmup_s=0.01)
# So many moments give its time now. One alone is as noisy as what it is to correct; drift is what lasts for seconds.
MOMENTS = 9
# A moment younger than this is still now.
EVERY_S = 1.0


def reference_network() -> onnx.ModelProto:
    """Convolutions of each kind, an addition and a fully connected layer: some 100 million MACs, 10 MB of weights.

    Never to be changed: the drift of later measurements is reckoned from its first time.
    """
    net = NetworkBuilder(REFERENCE_NAME, (1, 3, 112, 112))
    x = net.relu(net.conv(net.input, 32, 3, 2))
    for channels in (64, 128, 256):
        x = net.relu(net.conv(x, channels, 3, 2))
        y = net.relu(net.conv(x, 2 * channels, 1))
        y = net.relu(net.depthwise(y, 3))
        x = net.add(x, net.conv(y, channels, 1))
    x = net.relu(net.conv(x, 512, 3, 2))
    return net.finish(net.head(x))


@dataclass
class Reference:
    """The reference network, loaded, with its times at the last moments."""

    run: Run
    every_s: float = EVERY_S
    clock: Clock = time.perf_counter
    _moments: deque[float] = field(default_factory=lambda: deque(maxlen=MOMENTS), init=False)
    _last_at: float = field(default=float("-inf"), init=False)

    def median_ms(self) -> float:
        """Its time now: the median of the last moments, a new one among them if the last is too old."""
        while len(self._moments) < MOMENTS:
            self._time()
        if self.clock() - self._last_at > self.every_s:
            self._time()
        return median(self._moments)

    def _time(self) -> None:
        self._moments.append(time_runs(self.run, REFERENCE_PLAN, self.clock).median_ms)
        self._last_at = self.clock()
