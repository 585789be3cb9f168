"""How slow is the device at this moment? A small network of our own is timed in turns with every other one.

Its time over its very first time on this device is the drift; a latency is divided by it. Heat, a neighbour on the
same host or a lower clock slow both alike, so the quotient stays.
"""

from __future__ import annotations

import onnx

from narformer.families.builder import NetworkBuilder

REFERENCE_NAME = "narformer-reference"
# So long is it timed for the time that all later ones are compared with.
FIRST_S = 4.0


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
