"""As You Like It as a sequence of characters, cut into windows: what the character-level models read."""

from __future__ import annotations

from functools import cache

import torch

from optbench.core.losses import CROSS_ENTROPY, Loss
from optbench.core.problem import Batch
from optbench.problems.shared import read

# outputs (N, T, symbols) and the characters (N, T) that follow
NEXT_SYMBOL = Loss("cross-entropy", lambda scores, following: CROSS_ENTROPY(scores.flatten(0, 1), following.flatten()))
SYMBOLS = 68  # distinct characters of the text
SHARES = (0.4, 0.05, 0.05)  # of the text, from its beginning: train, valid, test; half of it keeps a pass short


@cache
def windows(length: int) -> list[Batch]:
    """Per split (inputs, next characters), each (N, length) int64; windows do not overlap, nor do splits."""
    text = read("asyoulik.txt").decode("ascii")
    index = {symbol: number for number, symbol in enumerate(sorted(set(text)))}
    codes = torch.tensor([index[symbol] for symbol in text])
    splits: list[Batch] = []
    at = 0
    for share in SHARES:
        count = (int(len(codes) * share) - 1) // length
        piece = codes[at : at + count * length + 1]
        splits.append((piece[:-1].view(count, length), piece[1:].view(count, length)))
        at += int(len(codes) * share)
    return splits
