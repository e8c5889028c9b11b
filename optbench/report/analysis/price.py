"""What a step costs: the problem's work, the optimizer's own, and the memory that it holds."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from optbench.records.splits import fact_of
from optbench.report.analysis.study import Study, number

ITEM_BYTES = {"float32": 4, "float64": 8}
COLUMNS = ("problem", "label", "trials", "evaluations", "problem_passes", "own_passes", "own_share", "state_multiple")


def prices(study: Study) -> pd.DataFrame:
    """A row a cell that evaluated anything, medians over its trials. A step is an evaluation, candidate or gradient.

    problem_passes and own_passes: of one step, in forward passes over the training set. own_share: the second over the
    first. state_multiple: bytes of the tensors that the optimizer holds, in multiples of the parameters'. It is NaN
    where they are not torch's, or the record is of before.
    """
    names = ("evaluations", "flops", "own_flops", "state_bytes")
    data = {name: study.trials[name].to_numpy(dtype=float) for name in names}
    rows = []
    for problem in study.problems:
        fact = study.facts.get(problem, {})
        dim = number(fact.get("dim"))
        a_pass = float(np.median([number(fact_of(fact, k).get("flops_per_pass")) for k in study.splits[problem]]))
        parameters = dim * ITEM_BYTES.get(str(fact.get("dtype")), 4)
        for label in study.labels:
            cell = study.cells.get((problem, label))
            ran = cell[data["evaluations"][cell] > 0] if cell is not None else np.array([], dtype=int)
            if not len(ran):
                continue
            own = {name: values[ran] for name, values in data.items()}
            step, mine = own["flops"] / own["evaluations"], own["own_flops"] / own["evaluations"]
            rows.append(
                {"problem": problem, "label": label, "trials": len(ran)}
                | {"evaluations": float(np.median(own["evaluations"]))}
                | {"problem_passes": float(np.median(step)) / a_pass, "own_passes": float(np.median(mine)) / a_pass}
                | {"own_share": float(np.median(own["own_flops"] / np.maximum(own["flops"], 1)))}
                | {"state_multiple": float(np.median(own["state_bytes"])) / parameters if parameters else math.nan}
            )
    return pd.DataFrame(rows, columns=[*COLUMNS])
