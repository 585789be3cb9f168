"""Writes the example networks: ResNet-18 as in the ONNX zoo (v1) and MobileNetV2 as in torchvision, without weights.

    python examples/make_examples.py

BatchNormalization is kept as a node of its own, and convolutions have no bias, as in those files.
"""

from pathlib import Path

from narformer.families.builder import NetworkBuilder, Value

HERE = Path(__file__).parent


def resnet18() -> None:
    net = NetworkBuilder("resnet18", (1, 3, 224, 224))

    def conv_norm(x: Value, channels: int, kernel: int, stride: int = 1) -> Value:
        return net.batch_norm(net.conv(x, channels, kernel, stride, bias=False, padding=kernel // 2))

    x = net.relu(conv_norm(net.input, 64, 7, 2))
    x = net.max_pool(x, 3, 2, padding=1)
    for channels in (64, 128, 256, 512):
        for block in range(2):
            stride = 2 if block == 0 and channels > 64 else 1
            shortcut = conv_norm(x, channels, 1, stride) if stride == 2 else x
            y = net.relu(conv_norm(x, channels, 3, stride))
            x = net.relu(net.add(conv_norm(y, channels, 3), shortcut))
    x = net.flatten(net.global_average_pool(x))
    model = net.finish(net.fully_connected(x, 1000, bias=True))
    (HERE / "resnet18.onnx").write_bytes(model.SerializeToString())


def mobilenet_v2() -> None:
    net = NetworkBuilder("mobilenet_v2", (1, 3, 224, 224))

    def conv_norm(x: Value, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> Value:
        return net.batch_norm(net.conv(x, channels, kernel, stride, groups, bias=False, padding=kernel // 2))

    x = net.relu6(conv_norm(net.input, 32, 3, 2))
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, channels, repeats, first_stride in stages:
        for block in range(repeats):
            stride = first_stride if block == 0 else 1
            width = x.channels * expansion
            y = net.relu6(conv_norm(x, width, 1)) if expansion > 1 else x
            y = net.relu6(conv_norm(y, width, 3, stride, groups=width))
            y = conv_norm(y, channels, 1)
            x = net.add(x, y) if stride == 1 and x.channels == channels else y
    x = net.relu6(conv_norm(x, 1280, 1))
    x = net.flatten(net.global_average_pool(x))
    model = net.finish(net.fully_connected(x, 1000, bias=True))
    (HERE / "mobilenet_v2.onnx").write_bytes(model.SerializeToString())


if __name__ == "__main__":
    resnet18()
    mobilenet_v2()
