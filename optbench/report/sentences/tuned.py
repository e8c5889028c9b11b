"""Who was tuned, how and at what cost, and who was not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from optbench.report.analysis.study import Study
from optbench.report.format import listed, number, plural


def tuned(study: Study, choices: pd.DataFrame) -> list[str]:
    """Who was tuned, how, at what cost, and who was not."""
    names = [label for label in study.labels if label in set(choices["label"])]
    counts = listed([str(count) for count in sorted(set(choices["tried"]))], "or")
    on = " or ".join(f"{what} loss" for what in ("validation", "training") if what in set(choices["selected_on"]))
    dear = number(float(choices["passes"].sum() / max(float(study.trials["passes"][_of(study, names)].sum()), 1e-9)))
    text = (
        f"{plural(len(names), 'optimizer')} tuned: each seed is reported with the one of {counts} settings that has "
        f"the lowest {on} on the other seeds, never chosen on test; the tuning took {dear} times the passes reported"
    )
    failed = int(choices["no_result"].sum()) - int(study.no_result[_of(study, names)].sum())
    text += f", and {plural(failed, 'trial')} with other settings have no result." if failed else "."
    rest = [label for label in study.labels if label not in names]
    return [text, f"As they come, untuned: {listed(rest)}."] if rest else [text]


def _of(study: Study, labels: list[str]) -> np.ndarray:
    return study.trials["label"].isin(labels).to_numpy()
