"""Networks for faces, poses and heads that no public package builds: BlazeFace and its kin, detectors, embeddings.

Each follows the paper or the public description of the network it stands for; contents of weights do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo_segmentation import conv


class Blaze(nn.Module):
    """BlazeFace's block (Bazarevsky et al. 2019): depthwise and pointwise, added to what it reads.

    Where it strides, what it reads is pooled; where it widens, zeros are appended, or it has a pointwise convolution.
    """

    def __init__(
        self, before: int, after: int, stride: int = 1, window: int = 3, prelu: bool = False, project: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.window, self.more = stride, window, after - before
        padding = 0 if stride == 2 else window // 2
        self.body = nn.Sequential(
            nn.Conv2d(before, before, window, stride, padding, groups=before), nn.Conv2d(before, after, 1)
        )
        self.project = nn.Conv2d(before, after, 1) if project else None
        self.act = nn.PReLU(after) if prelu else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        read = x
        if self.stride == 2:
            read = F.pad(x, (0, 2, 0, 2) if self.window == 3 else (1, 2, 1, 2))
            x = F.max_pool2d(x, 2)
        if self.project is not None:
            x = self.project(x)
        elif self.more:
            x = F.pad(x, (0, 0, 0, 0, 0, self.more))
        return self.act(self.body(read) + x)


def blazes(
    widths: Sequence[int], counts: Sequence[int], window: int = 3, prelu: bool = False, project: bool = False
) -> nn.Sequential:
    """Groups of blocks, each after the first with a stride."""
    parts: list[nn.Module] = []
    for k, (width, count) in enumerate(zip(widths, counts, strict=True)):
        if k:
            parts.append(Blaze(widths[k - 1], width, 2, window, prelu, project))
        parts += [Blaze(width, width, 1, window, prelu) for _ in range(count)]
    return nn.Sequential(*parts)


class BlazeDetector(nn.Module):
    """A detector with two anchors on the finer and six on the coarser of two maps, each with some numbers."""

    def __init__(
        self, first: nn.Module, fine: nn.Module, coarse: nn.Module, widths: tuple[int, int], each: int
    ) -> None:
        super().__init__()
        self.first, self.fine, self.coarse, self.each = first, fine, coarse, each
        self.scores = nn.ModuleList([nn.Conv2d(w, n, 1) for w, n in zip(widths, (2, 6), strict=True)])
        self.boxes = nn.ModuleList([nn.Conv2d(w, n * each, 1) for w, n in zip(widths, (2, 6), strict=True)])

    def forward(self, image: Tensor) -> list[Tensor]:
        fine = self.fine(self.first(image))
        maps = (fine, self.coarse(fine))
        boxes = [box(x).permute(0, 2, 3, 1).reshape(1, -1, self.each) for box, x in zip(self.boxes, maps, strict=True)]
        return [*boxes, *[s(x).permute(0, 2, 3, 1).reshape(1, -1, 1) for s, x in zip(self.scores, maps, strict=True)]]


class Padded(nn.Module):
    """A convolution over an image that is padded at its end."""

    def __init__(self, before: int, after: int, window: int, padding: tuple[int, int, int, int], prelu: bool) -> None:
        super().__init__()
        self.padding, self.conv = padding, nn.Conv2d(before, after, window, 2)
        self.act = nn.PReLU(after) if prelu else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(F.pad(x, self.padding)))


def blaze_face() -> BlazeDetector:
    """The detector of faces for a phone's rear camera, of 256 pixels."""
    first = Padded(3, 24, 5, (1, 2, 1, 2), prelu=False)
    fine = blazes((24, 24, 48, 96), (7, 7, 7, 7))
    last = (nn.Conv2d(96, 96, 3, 2, groups=96), nn.Conv2d(96, 96, 1), nn.ReLU())
    coarse = nn.Sequential(nn.ZeroPad2d((0, 2, 0, 2)), *last)
    return BlazeDetector(first, fine, coarse, (96, 96), 16)


def blaze_pose() -> BlazeDetector:
    """The detector of poses, of 128 pixels."""
    first = nn.Sequential(nn.Conv2d(3, 48, 5, 1, 2), nn.ReLU())
    fine = blazes((48, 64, 96, 128), (3, 3, 6, 7), 5, project=True)
    coarse = nn.Sequential(Blaze(128, 256, 2, 5, project=True), *[Blaze(256, 256, 1, 5) for _ in range(6)])
    return BlazeDetector(first, fine, coarse, (128, 256), 12)


class FacePoints(nn.Module):
    """468 points of a face, of 192 pixels."""

    def __init__(self) -> None:
        super().__init__()
        body = blazes((16, 32, 64, 128, 128), (2, 2, 2, 2, 2), prelu=True)
        self.body = nn.Sequential(Padded(3, 16, 3, (0, 1, 0, 1), prelu=True), body)
        self.points, self.there = (self._head(count, out) for count, out in ((2, 1404), (0, 1)))

    @staticmethod
    def _head(count: int, out: int) -> nn.Sequential:
        deep = [Blaze(128, 128, 2, prelu=True), *[Blaze(128, 128, prelu=True) for _ in range(count)]]
        last = (nn.Conv2d(128, 32, 1), nn.PReLU(32), Blaze(32, 32, prelu=True), nn.Conv2d(32, out, 3))
        return nn.Sequential(*deep, *last)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(image)
        return self.there(x).sigmoid().view(-1), self.points(x).view(-1, 468, 3) / 192


def _side(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, before, 3, 1, 1, groups=before), nn.Conv2d(before, after, 1), nn.ReLU())


class PosePoints(nn.Module):
    """31 points of a pose, of 256 pixels: down, up and down again."""

    def __init__(self) -> None:
        super().__init__()
        widths, counts = (24, 48, 96, 192, 288), (2, 3, 4, 5, 6)
        self.first = nn.Sequential(Padded(3, 24, 3, (0, 1, 0, 1), prelu=False), blazes((24,), (2,)))
        self.down = self._groups(widths, counts[1:])
        self.up = nn.ModuleList([_side(width, 48) for width in (288, 192, 96, 48)])
        again = (48, *widths[2:])
        self.again = self._groups(again, counts[2:])
        self.sides = nn.ModuleList([_side(width, width) for width in again[1:]])
        self.last = nn.Sequential(self._group(288, 288, 7), self._group(288, 288, 6), Blaze(288, 288))
        self.there, self.points = nn.Conv2d(288, 1, 2), nn.Conv2d(288, 124, 2)

    @classmethod
    def _groups(cls, widths: Sequence[int], counts: Sequence[int]) -> nn.ModuleList:
        return nn.ModuleList([cls._group(a, b, n) for a, b, n in zip(widths[:-1], widths[1:], counts, strict=True)])

    @staticmethod
    def _group(before: int, after: int, count: int) -> nn.Sequential:
        return nn.Sequential(Blaze(before, after, 2), *[Blaze(after, after) for _ in range(count)])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        found = [self.first(image)]
        for down in self.down:
            found.append(down(found[-1]))
        x = self.up[0](found[4])
        for k in (1, 2, 3):
            x = self.up[k](found[4 - k]) + F.interpolate(x, scale_factor=2, mode="bilinear")
        for again, side, skip in zip(self.again, self.sides, found[2:], strict=True):
            x = again(x) + side(skip)
        x = self.last(x)
        return self.there(x).view(-1).sigmoid(), self.points(x).view(1, 31, 4)[:, :25] / 256


class _Excited(nn.Module):
    """Channels weighed by what their means say; normed: as Qualcomm's detectors do it, with normalisations."""

    def __init__(self, width: int, fewer: int, normed: bool) -> None:
        super().__init__()
        inner = width // fewer
        first, second = nn.Conv2d(width, inner, 1, bias=False), nn.Conv2d(inner, width, 1, bias=False)
        norms = (nn.BatchNorm2d(inner), nn.BatchNorm2d(width)) if normed else (nn.Identity(), nn.Identity())
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(1), first, norms[0], nn.ReLU(), second, norms[1], nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.body(x)


class _Expanded(nn.Module):
    """Wide by one pixel, narrow by three by three, once or (deep) twice, added to what it reads but with a stride."""

    def __init__(self, before: int, inner: int, after: int, stride: int, deep: bool, excited: bool) -> None:
        super().__init__()
        parts = [conv(before, inner, 1), conv(inner, after, 3, 1 if deep else stride)]
        parts += [conv(after, after, 3, stride)] if deep else []
        self.body = nn.Sequential(*parts, *([_Excited(after, 4, normed=True)] if excited else []))
        self.keeps = stride == 1
        self.short = conv(before, after, 1, act=False) if self.keeps and before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.short(x) if self.keeps else self.body(x)


# Blocks: channels inside and written, stride, whether deep and excited; after each group a map leaves.
_FACE = (
    ((16, 16, 2, 0, 0), (64, 32, 2, 0, 0), (96, 32, 1, 0, 0)),
    ((96, 32, 2, 1, 1), (224, 32, 1, 1, 1), (224, 32, 1, 1, 1), (128, 64, 1, 1, 1), (160, 64, 1, 1, 1)),
    ((256, 96, 2, 1, 1),),
)
_FEET = (
    ((16, 16, 1, 0, 0), (64, 16, 2, 0, 0), (64, 16, 1, 0, 0)),
    ((96, 32, 2, 1, 1), (96, 32, 1, 1, 1), (128, 32, 1, 1, 1)),
    (
        *((128, 64, 2, 0, 0), (128, 64, 1, 0, 0), (160, 64, 1, 0, 0), (160, 64, 1, 0, 0)),
        *((256, 64, 1, 0, 1), (320, 64, 1, 0, 1), (320, 64, 1, 1, 1)),
    ),
    ((320, 96, 2, 1, 1), (480, 96, 1, 1, 1)),
)


class LightDetector(nn.Module):
    """Qualcomm's detectors of faces and of feet: a small backbone, a pyramid upwards, heads of maps."""

    def __init__(
        self, groups: Sequence[Sequence[Sequence[int]]], read: int, width: int, heads: Sequence[int], deep: bool
    ) -> None:
        super().__init__()
        self.stem, before = conv(read, 16, 3, 2), 16
        self.groups, widths = nn.ModuleList(), []
        for group in groups:
            blocks = []
            for inner, after, stride, twice, excited in group:
                blocks.append(_Expanded(before, inner, after, stride, bool(twice), bool(excited)))
                before = after
            self.groups.append(nn.Sequential(*blocks))
            widths.append(before)
        self.sides = nn.ModuleList([conv(w, width, 1) for w in widths])
        self.ups = nn.ModuleList([conv(width, width) for _ in widths[1:]])
        quarter = width // 4
        self.wide, self.enter, self.near = conv(width, width // 2), conv(width, quarter), conv(quarter, quarter)
        self.far = nn.Sequential(conv(quarter, quarter), conv(quarter, quarter))
        self.heads = nn.ModuleList(
            [nn.Sequential(*([conv(width, width)] if deep else []), nn.Conv2d(width, n, 1)) for n in heads]
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        x, found = self.stem((image - 0.442) / 0.28), []
        for group in self.groups:
            x = group(x)
            found.append(x)
        y = self.sides[-1](x)
        for up, side, skip in zip(self.ups, reversed(self.sides[:-1]), reversed(found[:-1]), strict=True):
            y = up(F.interpolate(y, scale_factor=2, mode="nearest")) + side(skip)
        inner = self.enter(y)
        y = torch.cat([self.wide(y), self.near(inner), self.far(inner)], 1)
        return [head(y) for head in self.heads]


def face_detector() -> LightDetector:
    return LightDetector(_FACE, 1, 32, (1, 4, 10), deep=False)


def foot_tracker() -> LightDetector:
    return LightDetector(_FEET, 3, 64, (1, 1, 1, 4, 4, 4, 34, 17), deep=True)


class _Residual(nn.Module):
    """ArcFace's block: normalised before, rectified with slopes, excited."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        first, second = nn.Conv2d(before, after, 3, 1, 1, bias=False), nn.Conv2d(after, after, 3, stride, 1, bias=False)
        self.body = nn.Sequential(
            *(nn.BatchNorm2d(before), first, nn.PReLU(after), second, nn.BatchNorm2d(after)),
            _Excited(after, 16, normed=False),
        )
        self.short = nn.MaxPool2d(1, stride) if before == after else conv(before, after, 1, stride, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.short(x)


class FaceNumbers(nn.Module):
    """IR-SE-100 (Deng et al. 2019): 512 numbers for a face of 112 pixels."""

    def __init__(self) -> None:
        super().__init__()
        blocks, before = [], 64
        for after, count in ((64, 3), (128, 13), (256, 30), (512, 3)):
            for k in range(count):
                blocks.append(_Residual(before, after, 1 if k else 2))
                before = after
        first = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        self.body = nn.Sequential(first, *blocks, nn.BatchNorm2d(512))
        self.head = nn.Sequential(nn.Linear(512 * 49, 512), nn.BatchNorm1d(512))

    def forward(self, image: Tensor) -> Tensor:
        return F.normalize(self.head(self.body((image * 255 - 127.5) / 128).flatten(1)))


class FaceShape(nn.Module):
    """A face's 265 numbers of shape: a grey ResNet-18 of half its width, its last block alone full, of 128 pixels."""

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(3, 1, 1), conv(1, 32, 7, 2), nn.MaxPool2d(3, 2, 1)]
        before = 32
        for k, widths in enumerate(((32, 32), (64, 64), (128, 128), (256, 512))):
            for j, after in enumerate(widths):
                parts.append(_Basic(before, after, 2 if k and not j else 1))
                before = after
        self.body, self.head = nn.Sequential(*parts, nn.AvgPool2d(4, 1)), nn.Linear(512, 265)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image * 255).flatten(1))


class _Basic(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(before, after, 3, stride), conv(after, after, act=False))
        same = stride == 1 and before == after
        self.short = nn.Identity() if same else conv(before, after, 1, stride, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.short(x))


class HeadPose(nn.Module):
    """6DRepNet (Hempel et al. 2022) on RepVGG-B1g2 with its branches merged: six numbers, made a rotation."""

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(3, 64, 3, 2, 1), nn.ReLU()]
        before, number = 64, 1
        for after, count in ((128, 4), (256, 6), (512, 16), (2048, 1)):
            for k in range(count):
                groups = 1 if number % 2 else 2  # every other is in two groups
                parts += [nn.Conv2d(before, after, 3, 1 if k else 2, 1, groups=groups), nn.ReLU()]
                before, number = after, number + 1
        self.body, self.head = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1)), nn.Linear(2048, 6)

    def forward(self, image: Tensor) -> Tensor:
        numbers = self.head(self.body(image).flatten(1))
        x = F.normalize(numbers[:, :3])
        z = F.normalize(torch.linalg.cross(x, numbers[:, 3:]))
        return torch.stack([x, torch.linalg.cross(z, x), z], 2)
