"""Several splits of a problem's data in one study: each has a start, a best loss and targets of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from optbench.core.trial import RequestError
from optbench.records.reader import Results
from optbench.records.splits import other_splits, splits_of

OF_EACH = "of each split"  # the source of a best loss that is not the same for all splits


def split_of(trials: pd.DataFrame) -> np.ndarray:
    """(trials,) the split that each trained on; tables without that column have the stated one."""
    return trials["split"].to_numpy(dtype=int) if "split" in trials else np.zeros(len(trials), dtype=int)


def divisions(trials: pd.DataFrame) -> tuple[list[tuple[str, int]], np.ndarray]:
    """The (problem, split) of the trials, each once, and (trials,) the place of each trial's among them."""
    pairs = pd.MultiIndex.from_arrays([trials["problem"].astype(object), split_of(trials)])
    codes, unique = pd.factorize(pairs)
    return [(str(problem), int(split)) for problem, split in unique], np.asarray(codes)


def refuse_other_splits(folders: Sequence[Results]) -> None:
    """Raises RequestError where a seed of a problem trained on one split in one folder, on another in the next."""
    before = folders[0]
    mine = splits_of(before.trials[["problem", "seed", "split"]].to_dict("records"))
    for results in folders[1:]:
        theirs = splits_of(results.trials[["problem", "seed", "split"]].to_dict("records"))
        if odd := other_splits(mine, theirs):
            raise RequestError(
                f"{before.folder} and {results.folder} have {odd}: losses on other data are not compared; run both "
                "with the same --splits"
            )
        mine |= theirs
