"""How often a report names somebody although nobody is better, and how large a difference it finds.

    python scripts/simulate_null.py --suites 500 --entrants 6
    python scripts/simulate_null.py --suites 100 --power

Suites are drawn in memory: every entrant has settings of different merit from one law, seeds vary, 5 % of the trials
fail. The report's own code chooses settings and compares, on training loss and on validation loss. Printed are the
shares of suites with a winner and with a pair called better. With `--power` it is the share of suites in which an
entrant that is better by some effect is named the winner; that also goes into docs/figures/power.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from optbench.report.analysis.findings import Findings, findings
from optbench.report.analysis.question import TRAINING, VALIDATION, Question
from optbench.report.analysis.ranking import ALPHA
from optbench.report.analysis.study import Study, outcomes

OUT = Path(__file__).parents[1] / "docs" / "figures" / "power.png"
TAUS = np.array([0.5, 0.1, 0.01, 0.001])
BUDGET = 1000.0
FAILS = 0.05
EFFECTS = (0.03, 0.06, 0.12, 0.2)  # of the score, that the first entrant is better by in every problem
PROBLEMS = (8, 16, 26, 48)


def drawn(
    rng: np.random.Generator, entrants: int, problems: int, seeds: int, settings: int, effect: float = 0.0
) -> Study:
    """A study of equals, but for the first entrant, whose costs are lower so that its score is `effect` higher."""
    shape = (problems, entrants, settings, seeds)
    speed = rng.uniform(0.5, 2.0, (problems, 1, 1, 1)) + rng.uniform(
        0.05, 0.5, (problems, 1, 1, 1)
    ) * rng.standard_normal((problems, entrants, 1, 1))
    speed = speed + 0.3 * np.abs(rng.standard_normal((problems, entrants, settings, 1)))
    speed = speed + 0.2 * rng.standard_normal(shape)
    speed[:, 0] -= effect * np.log10(BUDGET)
    costs = 10 ** (speed[..., None] + np.array([0.0, 0.2, 0.4, 0.6]))
    failed = rng.random(shape) < FAILS
    p, e, s, r = (axis.ravel() for axis in np.indices(shape))
    label = np.array([[f"o{k}[s={j}]" for j in range(settings)] for k in range(entrants)])[e, s]
    trials = pd.DataFrame(
        {
            "problem": np.char.add("p", p.astype(str)),
            "label": label,
            "plain": label,
            "optimizer": np.char.add("o", e.astype(str)),
            "competitor": np.char.add(np.char.add("o", e.astype(str)), " (tuned)"),
            "given": False,
            "seed": r,
            "status": np.where(failed.ravel(), "failed", "spent"),
            "budget": BUDGET,
            "passes": BUDGET,
            "own_flops": 0.0,
        }
    )
    flat = costs.reshape(-1, len(TAUS))
    seen = flat <= BUDGET
    points = pd.DataFrame(
        {
            "trial": np.repeat(np.arange(len(flat)), len(TAUS))[seen.ravel()],
            "passes": flat[seen],
            "loss": np.broadcast_to(TAUS, flat.shape)[seen],
        }
    )
    points["valid_loss"] = points["loss"]
    goal = {"start": 1.0, "best": {"value": 0.0}, "targets": {f"{tau:g}": float(tau) for tau in TAUS}}
    facts = {f"p{k}": goal | {"validation": goal} for k in range(problems)}
    for column, values in outcomes(trials, points, facts, TRAINING).items():
        trials[column] = values
    families = dict.fromkeys([*np.unique(label), *trials["competitor"].unique()], "plugin")
    return Study(["null"], trials, points, facts, families, [{}])


def asked(study: Study, question: Question) -> Findings:
    return findings(study if question == TRAINING else study.asked(question))


def null(suites: int, entrants: int, problems: int, seeds: int, settings: int) -> None:
    """Print the shares of suites in which somebody is named although all are equal."""
    for question in (TRAINING, VALIDATION):
        rng = np.random.default_rng(entrants)
        winners = pairs = uncorrected = 0
        for _ in range(suites):
            ranking = asked(drawn(rng, entrants, problems, seeds, settings), question).ranking
            every = [(a, b) for a in ranking.labels for b in ranking.labels if a != b]
            winners += ranking.winner is not None
            pairs += any(ranking.claim(*pair) == "better" for pair in every)
            uncorrected += any(ranking.pairs[pair].claim == "better" for pair in every)
        print(
            f"{question.name}: {entrants} entrants, {suites} suites of {problems} problems: a winner in "
            f"{100 * winners / suites:.1f} %, a pair called better in {100 * pairs / suites:.1f} % "
            f"(uncorrected {100 * uncorrected / suites:.1f} %, level {100 * ALPHA:g} %)",
            flush=True,
        )


def power(suites: int, entrants: int, seeds: int, settings: int) -> None:
    """Print and draw how often the better one of some entrants is named the winner."""
    from optbench.report.figures.style import pyplot

    figure, axes = pyplot().subplots(figsize=(4.5, 3.0), layout="constrained")
    for effect in EFFECTS:
        found = []
        for problems in PROBLEMS:
            rng = np.random.default_rng(problems)
            rankings = (
                findings(drawn(rng, entrants, problems, seeds, settings, effect)).ranking for _ in range(suites)
            )
            found.append(sum(ranking.winner == "o0 (tuned)" for ranking in rankings) / suites)
        print(
            f"effect {effect:g}: "
            + ", ".join(f"{n} problems {share:.2f}" for n, share in zip(PROBLEMS, found, strict=True))
        )
        axes.plot(PROBLEMS, found, marker="o", label=f"{effect:g}")
    axes.set(
        xlabel="problems", ylabel="share of suites", ylim=(-0.02, 1.02), title="the better one is named the winner"
    )
    axes.legend(title="better by, in score")
    figure.savefig(OUT, dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", type=int, default=100)
    parser.add_argument("--entrants", type=int, default=6)
    parser.add_argument("--problems", type=int, default=26)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--settings", type=int, default=4)
    parser.add_argument("--power", action="store_true", help="draw how often a difference is found")
    given = parser.parse_args()
    if given.power:
        power(given.suites, min(given.entrants, 3), given.seeds, given.settings)
    else:
        null(given.suites, given.entrants, given.problems, given.seeds, given.settings)
