"""Optimizers with a train and an eval mode, as schedule-free ones have: scored at the point that eval mode names.

The Road Less Scheduled (Defazio et al. 2024): gradients are taken at one point, the answer is an average.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from optbench.core.objective import Objective


def score_in_eval_mode(f: Objective, optimizer: Any) -> None:
    """Begin in train mode and score in eval mode; nothing where the optimizer lacks one of them."""
    if not (callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None))):
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.train()

    @contextmanager
    def in_eval_mode() -> Iterator[None]:
        kept = [p.detach().clone() for p in parameters]
        optimizer.eval()
        try:
            yield
        finally:
            optimizer.train()
            with torch.no_grad():  # to the last bit, for train mode undoes an average only up to rounding
                for p, point in zip(parameters, kept, strict=True):
                    p.copy_(point)

    f.score_within(in_eval_mode)
