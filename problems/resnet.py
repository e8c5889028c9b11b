"""A residual network whose size is a setting: WRN-depth-widening (Zagoruyko & Komodakis 2016, arXiv:1605.07146)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from optbench.core.losses import CROSS_ENTROPY
from optbench.core.problem import Problem, Splits
from optbench.problems.deepobs_networks import wide_residual
from optbench.problems.precision import PRECISIONS, in_precision
from optbench.problems.shared import stated
from optbench.problems.standard_data import CLASSES, SHAPES, images


@dataclass(frozen=True)
class ResNet(Problem):
    """Wide-ResNet on pictures, cross-entropy; [depth=10,widening=1] has 78 thousand parameters, [16,8] 11 million."""

    depth: int = 10  # 6 n + 4
    widening: int = 1
    data_set: str = "fashion"  # the subset in the package; or mnist, fmnist, cifar10, cifar100, svhn
    precision: str = "single"  # or mixed: bfloat16 where autocast has it

    track = "supervised"
    dtype = torch.float32
    objective_loss = CROSS_ENTROPY
    passes = 30.0
    batch = 128
    bound = 0.0

    def __post_init__(self) -> None:
        if self.depth < 10 or (self.depth - 4) % 6 or self.widening < 1:
            raise ValueError(f"resnet: depth {self.depth} must be 10, 16, 22, ...; widening {self.widening} at least 1")
        stated("resnet: data_set", self.data_set, CLASSES)
        stated("resnet: precision", self.precision, PRECISIONS)

    def network(self) -> nn.Module:
        channels, _ = SHAPES[self.data_set]
        net = wide_residual(self.depth, self.widening, CLASSES[self.data_set], channels, penalised=False)
        return in_precision(net, self.precision)

    def data(self) -> Splits:
        return images(self.data_set)
