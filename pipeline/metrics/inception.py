"""Inception-v3 as the Fréchet Inception Distance uses it: TensorFlow's network of 2015-12-05, pooled to 2,048 numbers.

Written from the architecture (Szegedy et al. 2016) with the names of PyTorch's state dictionaries. That network differs
from the later ones in three places: average pools do not count the padding, and the last block pools by maximum. The
weights are the user's to give: a state dictionary such as ``pt_inception-2015-12-05-6726825d.pth``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE, FEATURES = 299, 2048
_BN_EPS = 1e-3
_FORKS = "ab"
Kernel = int | tuple[int, int]
Step = tuple[str, int, Kernel, int]  # name, channels out, kernel, stride


class _Conv(nn.Module):
    """Convolution without bias, batch norm, ReLU; keeps the size unless the stride is 2 or ``valid`` is set."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, valid: bool = False) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if valid or stride == 2 else (height // 2, width // 2)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=_BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Branches side by side, each a chain of named convolutions; two whose names end in a and b fork its end.

    ``pool`` is what the last branch begins with: "average" or "maximum" before its convolution, or "halve", a maximum
    over every second place and no convolution.
    """

    def __init__(self, inputs: int, branches: list[list[Step]], pool: str, pooled: int) -> None:
        super().__init__()
        self.pool, self.chains = pool, [[name for name, *_ in branch] for branch in branches]
        for branch in branches:
            width = inputs
            for name, outputs, kernel, stride in branch:
                self.add_module(name, _Conv(width, outputs, kernel, stride))
                width = width if name[-1] in _FORKS else outputs
        if pooled:
            self.branch_pool = _Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for chain in self.chains:
            y = x
            for name in chain:
                step = self.get_submodule(name)
                if name[-1] in _FORKS:
                    parts.append(step(y))
                else:
                    y = step(y)
            if chain[-1][-1] not in _FORKS:
                parts.append(y)
        if self.pool == "halve":
            parts.append(F.max_pool2d(x, 3, 2))
        elif self.pool == "maximum":
            parts.append(self.branch_pool(F.max_pool2d(x, 3, 1, 1)))
        else:
            parts.append(self.branch_pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)))
        return torch.cat(parts, 1)


def _block_a(inputs: int, pooled: int) -> _Mixed:
    five: list[Step] = [("branch5x5_1", 48, 1, 1), ("branch5x5_2", 64, 5, 1)]
    double: list[Step] = [("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 1), ("branch3x3dbl_3", 96, 3, 1)]
    return _Mixed(inputs, [[("branch1x1", 64, 1, 1)], five, double], "average", pooled)


def _block_b(inputs: int) -> _Mixed:
    double: list[Step] = [("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 1), ("branch3x3dbl_3", 96, 3, 2)]
    return _Mixed(inputs, [[("branch3x3", 384, 3, 2)], double], "halve", 0)


def _block_c(inputs: int, c: int) -> _Mixed:
    seven: list[Step] = [("branch7x7_1", c, 1, 1), ("branch7x7_2", c, (1, 7), 1), ("branch7x7_3", 192, (7, 1), 1)]
    shapes: list[tuple[int, Kernel]] = [(c, 1), (c, (7, 1)), (c, (1, 7)), (c, (7, 1)), (192, (1, 7))]
    double: list[Step] = [(f"branch7x7dbl_{i}", outputs, kernel, 1) for i, (outputs, kernel) in enumerate(shapes, 1)]
    return _Mixed(inputs, [[("branch1x1", 192, 1, 1)], seven, double], "average", 192)


def _block_d(inputs: int) -> _Mixed:
    three: list[Step] = [("branch3x3_1", 192, 1, 1), ("branch3x3_2", 320, 3, 2)]
    shapes: list[tuple[int, Kernel, int]] = [(192, 1, 1), (192, (1, 7), 1), (192, (7, 1), 1), (192, 3, 2)]
    seven: list[Step] = [(f"branch7x7x3_{i}", *shape) for i, shape in enumerate(shapes, 1)]
    return _Mixed(inputs, [three, seven], "halve", 0)


def _block_e(inputs: int, pool: str) -> _Mixed:
    three: list[Step] = [
        ("branch3x3_1", 384, 1, 1),
        ("branch3x3_2a", 384, (1, 3), 1),
        ("branch3x3_2b", 384, (3, 1), 1),
    ]
    double: list[Step] = [
        ("branch3x3dbl_1", 448, 1, 1),
        ("branch3x3dbl_2", 384, 3, 1),
        ("branch3x3dbl_3a", 384, (1, 3), 1),
        ("branch3x3dbl_3b", 384, (3, 1), 1),
    ]
    return _Mixed(inputs, [[("branch1x1", 320, 1, 1)], three, double], pool, 192)


class Inception(nn.Module):
    """The network up to its pooled features. Images are [N, 3, 299, 299] in [−1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3, valid=True)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3, valid=True)
        self.Mixed_5b = _block_a(192, 32)
        self.Mixed_5c = _block_a(256, 64)
        self.Mixed_5d = _block_a(288, 64)
        self.Mixed_6a = _block_b(288)
        self.Mixed_6b = _block_c(768, 128)
        self.Mixed_6c = _block_c(768, 160)
        self.Mixed_6d = _block_c(768, 160)
        self.Mixed_6e = _block_c(768, 192)
        self.Mixed_7a = _block_d(768)
        self.Mixed_7b = _block_e(1280, "average")
        self.Mixed_7c = _block_e(2048, "maximum")

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, 2048]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
