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
    reported = float(study.trials["passes"][_of(study, names)].sum())
    times = number(float(choices["passes"].sum()) / max(reported, 1e-9))
    out = [
        f"{plural(len(names), 'optimizer')} tuned: each seed is reported with the one of {counts} settings that has "
        f"the lowest {study.question.name} loss {'on the other seeds' if _several_seeds(study) else 'on this seed'}.",
        *_chose_for_itself(study),
        f"Tuning took {times} times the passes reported.",
    ]
    if failed := int(choices["no_result"].sum()) - int(study.no_result[_of(study, names)].sum()):
        out.append(f"{plural(failed, 'trial')} with other settings have no result.")
    return [*out, *_untuned(study, names)]


def _several_seeds(study: Study) -> bool:
    return bool(study.trials["seed"].nunique() > 1)


def _chose_for_itself(study: Study) -> list[str]:
    if _several_seeds(study):
        return []
    return ["With one seed a setting is chosen by the trial that is reported, which favours the luckiest: run several."]


def _untuned(study: Study, tuned: list[str]) -> list[str]:
    """One sentence a reason, with everybody it holds for."""
    by_reason: dict[str, list[str]] = {}
    for label in study.labels:
        if label not in tuned:
            why = study.marks.get(label, "untuned").removeprefix("untuned: ")
            by_reason.setdefault("fixes a setting of its search space" if why.startswith("fixes") else why, []).append(
                label
            )
    return [
        f"Untuned, as they are{'' if why == 'untuned' else f' ({why})'}: {listed(labels, maximum=30)}."
        for why, labels in by_reason.items()
    ]


def _of(study: Study, labels: list[str]) -> np.ndarray:
    return study.trials["label"].isin(labels).to_numpy()
