"""Detectors that no public package builds: YOLOX, SSD on ResNet-34, CRAFT; XLSR, an upscaler; PointNet.

Each follows the paper or the public description of the network it stands for; contents of weights do not matter.
"""

from __future__ import annotations

from typing import Any

import torch
import torchvision.models as vision
from torch import Tensor, nn
from torch.nn import functional as F


class _Smooth(nn.Module):
    """A convolution, its normalisation, and x times its sigmoid."""

    def __init__(self, before: int, after: int, window: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, window, stride, window // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return y * torch.sigmoid(y)


class _Pair(nn.Module):
    def __init__(self, width: int, keeps: bool) -> None:
        super().__init__()
        self.body, self.keeps = nn.Sequential(_Smooth(width, width), _Smooth(width, width, 3)), keeps

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + x if self.keeps else self.body(x)


class _Partial(nn.Module):
    """A cross stage partial layer: half of the channels go through blocks."""

    def __init__(self, before: int, after: int, blocks: int, keeps: bool = True) -> None:
        super().__init__()
        inner = after // 2
        self.one, self.two, self.join = _Smooth(before, inner), _Smooth(before, inner), _Smooth(after, after)
        self.blocks = nn.Sequential(*[_Pair(inner, keeps) for _ in range(blocks)])

    def forward(self, x: Tensor) -> Tensor:
        return self.join(torch.cat([self.blocks(self.one(x)), self.two(x)], 1))


class _Pools(nn.Module):
    """Largest values over windows of 5, 9 and 13, beside what is pooled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter, self.leave = _Smooth(width, width // 2), _Smooth(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return self.leave(torch.cat([x, *[F.max_pool2d(x, n, 1, n // 2) for n in (5, 9, 13)]], 1))


class FreeOfAnchors(nn.Module):
    """YOLOX-S (Ge et al. 2021): boxes, the best class of each and its score, of 640 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = _Smooth(12, 32, 3)
        self.dark = nn.ModuleList(
            [
                nn.Sequential(_Smooth(32, 64, 3, 2), _Partial(64, 64, 1)),
                nn.Sequential(_Smooth(64, 128, 3, 2), _Partial(128, 128, 3)),
                nn.Sequential(_Smooth(128, 256, 3, 2), _Partial(256, 256, 3)),
                nn.Sequential(_Smooth(256, 512, 3, 2), _Pools(512), _Partial(512, 512, 1, keeps=False)),
            ]
        )
        self.narrow = nn.ModuleList([_Smooth(512, 256), _Smooth(256, 128)])
        self.up = nn.ModuleList([_Partial(512, 256, 1, keeps=False), _Partial(256, 128, 1, keeps=False)])
        self.stride = nn.ModuleList([_Smooth(128, 128, 3, 2), _Smooth(256, 256, 3, 2)])
        self.down = nn.ModuleList([_Partial(256, 256, 1, keeps=False), _Partial(512, 512, 1, keeps=False)])
        self.stems = nn.ModuleList([_Smooth(width, 128) for width in (128, 256, 512)])
        self.of_class, self.of_box = (nn.ModuleList([self._twice() for _ in range(3)]) for _ in range(2))
        self.classes, self.boxes, self.there = (
            nn.ModuleList([nn.Conv2d(128, count, 1) for _ in range(3)]) for count in (80, 4, 1)
        )

    @staticmethod
    def _twice() -> nn.Sequential:
        return nn.Sequential(_Smooth(128, 128, 3), _Smooth(128, 128, 3))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        image = image * 255
        parts = [image[..., a::2, b::2] for a, b in ((0, 0), (1, 0), (0, 1), (1, 1))]
        x, found = self.first(torch.cat(parts, 1)), []
        for dark in self.dark:
            x = dark(x)
            found.append(x)
        deep = self.narrow[0](found[3])
        x = self.up[0](torch.cat([F.interpolate(deep, scale_factor=2), found[2]], 1))
        middle = self.narrow[1](x)
        fine = self.up[1](torch.cat([F.interpolate(middle, scale_factor=2), found[1]], 1))
        second = self.down[0](torch.cat([self.stride[0](fine), middle], 1))
        maps = (fine, second, self.down[1](torch.cat([self.stride[1](second), deep], 1)))
        places, sizes, scores = [], [], []
        for k, y in enumerate(maps):
            y = self.stems[k](y)
            of_class, of_box = self.of_class[k](y), self.of_box[k](y)
            step = image.shape[-1] // y.shape[-1]
            rows, columns = torch.meshgrid(torch.arange(y.shape[2]), torch.arange(y.shape[3]), indexing="ij")
            grid = torch.stack([columns, rows], 0)[None].flatten(2).float()
            box = self.boxes[k](of_box).flatten(2)
            places.append(((box[:, :2] + grid) * step).permute(0, 2, 1))
            sizes.append((box[:, 2:].exp() * step).permute(0, 2, 1))
            said = torch.cat([self.there[k](of_box), self.classes[k](of_class)], 1).sigmoid()
            scores.append(said.flatten(2).permute(0, 2, 1))
        place, size, said = torch.cat(places, 1), torch.cat(sizes, 1), torch.cat(scores, 1)
        best, number = (said[..., 1:] * said[..., :1]).max(-1)
        return torch.cat([place - size / 2, place + size / 2], -1), best, number.to(torch.uint8)


class SingleShot(nn.Module):
    """SSD (Liu et al. 2016) on ResNet-34 as MLPerf has it: 15,130 boxes and their 81 classes, of 1,200 pixels."""

    def __init__(self) -> None:
        super().__init__()
        body: Any = vision.resnet34()
        body.layer3[0].conv1.stride = body.layer3[0].downsample[0].stride = (1, 1)
        self.body = nn.Sequential(body.conv1, body.bn1, body.relu, body.maxpool, body.layer1, body.layer2, body.layer3)
        self.more = nn.ModuleList()
        steps = ((256, 256, 512, 2, 1), (512, 256, 512, 2, 1), (512, 128, 256, 2, 1), (256, 128, 256, 2, 0))
        for before, inner, after, stride, padding in (*steps, (256, 128, 256, 1, 0)):
            first, second = nn.Conv2d(before, inner, 1), nn.Conv2d(inner, after, 3, stride, padding)
            self.more.append(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()))
        boxes = tuple(zip((256, 512, 512, 256, 256, 256), (4, 6, 6, 6, 4, 4), strict=True))
        self.places = nn.ModuleList([nn.Conv2d(width, 4 * n, 3, 3, 1) for width, n in boxes])
        self.classes = nn.ModuleList([nn.Conv2d(width, 81 * n, 3, 3, 1) for width, n in boxes])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = [self.body(image)]
        for more in self.more:
            found.append(more(found[-1]))
        places = torch.cat([f(x).view(1, 4, -1) for f, x in zip(self.places, found, strict=True)], 2).permute(0, 2, 1)
        classes = torch.cat([f(x).view(1, 81, -1) for f, x in zip(self.classes, found, strict=True)], 2)
        size = (places[..., 2:] * 0.2).exp()
        boxes = torch.cat([places[..., :2] - size / 2, places[..., :2] + size / 2], -1) * image.shape[2]
        best, number = classes.permute(0, 2, 1).softmax(-1)[..., 1:].max(-1)
        return boxes, best, number


class TextRegions(nn.Module):
    """CRAFT (Baek et al. 2019) on VGG-16: two maps of where letters are."""

    def __init__(self) -> None:
        super().__init__()
        layers = vision.vgg16_bn().features
        cuts = ((0, 12), (12, 19), (19, 29), (29, 39))
        self.slices = nn.ModuleList([nn.Sequential(*layers[a:b]) for a, b in cuts])
        self.deep = nn.Sequential(
            nn.MaxPool2d(3, 1, 1), nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.Conv2d(1024, 1024, 1)
        )
        widths = ((1536, 512, 256), (768, 256, 128), (384, 128, 64), (192, 64, 32))
        self.ups = nn.ModuleList([self._double(*each) for each in widths])
        parts: list[nn.Module] = []
        for a, b, window in ((32, 32, 3), (32, 32, 3), (32, 16, 3), (16, 16, 1)):
            parts += [nn.Conv2d(a, b, window, padding=window // 2), nn.ReLU()]
        self.head = nn.Sequential(*parts, nn.Conv2d(16, 2, 1))

    @staticmethod
    def _double(read: int, inner: int, after: int) -> nn.Sequential:
        first = (nn.Conv2d(read, inner, 1), nn.BatchNorm2d(inner), nn.ReLU())
        return nn.Sequential(*first, nn.Conv2d(inner, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = []
        for part in self.slices:
            x = part(x)
            found.append(x)
        y = self.ups[0](torch.cat([self.deep(x), found[3]], 1))
        for up, skip in zip(self.ups[1:], reversed(found[:3]), strict=True):
            y = up(torch.cat([F.interpolate(y, skip.shape[2:], mode="bilinear"), skip], 1))
        return self.head(y).permute(0, 2, 3, 1), y


class GroupUpscaler(nn.Module):
    """XLSR (Ayazoglu 2021): convolutions in four groups, the image's own beside them, pixels by four."""

    def __init__(self) -> None:
        super().__init__()
        self.beside = nn.Conv2d(3, 16, 3, padding=1)
        parts: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 1)]
        for _ in range(3):
            parts += [nn.Conv2d(32, 32, 3, padding=1, groups=4), nn.ReLU(), nn.Conv2d(32, 32, 1)]
        self.body = nn.Sequential(*parts)
        self.tail = nn.Sequential(nn.Conv2d(48, 32, 1), nn.ReLU(), nn.Conv2d(32, 48, 3, padding=1), nn.PixelShuffle(4))

    def forward(self, x: Tensor) -> Tensor:
        return F.hardtanh(self.tail(torch.cat([self.body(x), self.beside(x)], 1)), 0, 1)
