"""How often a report claims what is not so, and how often it sees what is, on simulated suites.

    python scripts/simulate_claims.py false     # suites without a difference: how many of them claim one
    python scripts/simulate_claims.py power     # suites with one better optimizer: how many of them say so

Each takes `--suites N` and `--out FILE.json`; `power` draws docs/figures/power_of_claims.png. The report's own code
does what lies between trials and claims: settings are chosen seed by seed on the other seeds, and near-duplicates
count as one.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from optbench.report.analysis.question import TRAINING, VALIDATION, Question
from optbench.report.analysis.ranking import ALPHA, Ranking
from optbench.report.analysis.selection import select
from optbench.report.analysis.statistics import Array
from optbench.report.analysis.study import TUNED, Study, outcomes

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "power_of_claims.png"
TAUS = (0.5, 0.1, 1e-2, 1e-3)
BUDGET = 100.0
CHECKPOINTS = np.concatenate([[0.0], np.geomspace(1.0, BUDGET, 16)])
QUESTIONS = (TRAINING, VALIDATION)


@dataclass(frozen=True)
class Suite:
    """The size of a simulated suite, that of `standard` by default.

    twins: how many problems have a near-duplicate: the same optimizers suit both, and the two are a group.
    better: decades that the first optimizer gains over the others on every problem; 0 is no difference.
    """

    entrants: int = 22
    problems: int = 26
    seeds: int = 10
    settings: int = 8
    twins: int = 4
    better: float = 0.0


def draw(suite: Suite, rng: np.random.Generator) -> Study:
    """A study of all settings, in memory, whose optimizers are the same in law but for `suite.better`.

    A trial loses `rate` decades of its gap over the budget. The rate is the problem's, plus how an optimizer happens to
    suit the problem, plus what its setting is worth there (most settings lose, some a lot), plus the seed's. On
    validation a trial keeps most of that rate and adds one of its own: what fits best need not generalise best.
    """
    shape = (suite.problems, suite.entrants, suite.settings, suite.seeds)
    p, e, s, _ = shape
    hard, spread = rng.uniform(1.0, 4.0, (p, 1, 1, 1)), rng.uniform(0.1, 1.0, (p, 1, 1, 1))
    suits, suits_validation = rng.standard_normal((2, p, e, 1, 1)) * spread
    worth = -rng.exponential(1.0, (p, e, s, 1))
    for k in range(suite.twins):
        for values in (hard, suits, suits_validation):
            values[2 * k + 1] = values[2 * k]
    suits[:, 0] += suite.better
    rate = np.maximum(hard + suits + worth + 0.2 * rng.standard_normal(shape), 0.0)
    on_validation = np.maximum(0.8 * rate + 0.5 * suits_validation + 0.2 * rng.standard_normal(shape), 0.0)
    failed = rng.random(shape) < 0.02
    return _study(suite, rate.ravel(), on_validation.ravel(), failed.ravel())


def _study(suite: Suite, rate: Array, on_validation: Array, failed: np.ndarray) -> Study:
    """Rates by (problem, entrant, setting, seed), flat, as a study."""
    shape = (suite.problems, suite.entrants, suite.settings, suite.seeds)
    problem, entrant, setting, seed = (at.ravel() for at in np.indices(shape))
    n, length = len(rate), len(CHECKPOINTS)
    plain = np.array([f"o{e}[s={s}]" for e in range(suite.entrants) for s in range(suite.settings)], dtype=object)
    tuned = np.array([f"o{e} (tuned, {suite.settings})" for e in range(suite.entrants)], dtype=object)
    names = np.array([f"p{k}" for k in range(suite.problems)], dtype=object)
    labels = plain[entrant * suite.settings + setting]
    trials = pd.DataFrame({"problem": names[problem], "label": labels, "plain": labels, "seed": seed, "error": None})
    trials["optimizer"] = np.array([f"o{e}" for e in range(suite.entrants)], dtype=object)[entrant]
    trials["status"] = np.where(failed, "diverged", "spent")
    trials["budget"] = trials["passes"] = BUDGET
    trials["competitor"] = tuned[entrant] if suite.settings > 1 else labels
    trials["given"] = False
    part = np.log1p(CHECKPOINTS) / np.log1p(BUDGET)  # a gap falls as a power of the work
    points = pd.DataFrame({"trial": np.repeat(np.arange(n), length), "passes": np.tile(CHECKPOINTS, n)})
    points["loss"] = (10.0 ** -(rate[:, None] * part)).ravel()
    points["valid_loss"] = (10.0 ** -(on_validation[:, None] * part)).ravel()
    goal: dict[str, Any] = {"start": 1.0, "best": {"value": 0.0, "source": "optimum"}}
    goal["targets"] = {f"{tau:g}": tau for tau in TAUS}
    facts = {name: goal | {"validation": goal} for name in names}
    for column, values in outcomes(trials, points, facts, TRAINING).items():
        trials[column] = values
    groups = {f"twins{k}": [f"p{2 * k}", f"p{2 * k + 1}"] for k in range(suite.twins)}
    families = dict.fromkeys([*plain, *tuned], "plugin")
    marks = dict.fromkeys(tuned, TUNED) if suite.settings > 1 else {}
    return Study(["x"], trials, points, facts, families, [{}], (), marks, groups=groups)


def rankings(suite: Suite, rng: np.random.Generator) -> dict[Question, Ranking]:
    """A suite's ranking under either question."""
    study = draw(suite, rng)
    return {question: Ranking(select(study.asked(question)).study) for question in QUESTIONS}


def printed(ranking: Ranking) -> int:
    """Pairs that the table of pairs calls better or worse."""
    labels = ranking.labels
    return sum(ranking.claim(a, b) in ("better", "worse") for k, a in enumerate(labels) for b in labels[k + 1 :])


def uncorrected(ranking: Ranking) -> int:
    """Pairs that differ if nobody corrects for their number."""
    labels = ranking.labels
    return sum(ranking.pairs[a, b].claim in ("better", "worse") for k, a in enumerate(labels) for b in labels[k + 1 :])


def false_claims(suites: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """A row a (number of entrants, question): how many suites without a difference claim one."""
    rows = []
    for entrants in (6, 22):
        counts = {question.name: np.zeros(3, dtype=int) for question in QUESTIONS}
        for _ in range(suites):
            for question, ranking in rankings(Suite(entrants=entrants), rng).items():
                found = (ranking.winner is not None, printed(ranking) > 0, uncorrected(ranking) > 0)
                counts[question.name] += np.array(found)
        for name, (winner, pair, bare) in counts.items():
            rows.append({"entrants": entrants, "question": name, "suites": suites, "false_winner": int(winner)})
            rows[-1] |= {"false_pair": int(pair), "false_pair_uncorrected": int(bare)}
            print(rows[-1], flush=True)
    return rows


def power(suites: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """A row a (problems, decades): how often the better of six is named, and how much higher its score is in truth.

    `effect` is the mean difference of scores from the second, over all suites of the row, and `spread` its standard
    deviation over problems. Nothing is tuned and no problem has a twin: the number of problems is that of the units.
    """
    rows = []
    for problems in (8, 13, 26, 48):
        for better in (0.1, 0.2, 0.3, 0.5, 0.8, 1.2):
            suite = Suite(6, problems, settings=1, twins=0, better=better)
            differences, pairs, winners = [], [], []
            for _ in range(suites):
                ranking = Ranking(draw(suite, rng))
                differences.append((ranking.means["o0[s=0]"] - ranking.means["o1[s=0]"]).to_numpy())
                pairs.append(ranking.claim("o0[s=0]", "o1[s=0]") == "better")
                winners.append(ranking.winner == "o0[s=0]")
            rows.append({"problems": problems, "decades": better, "suites": suites})
            rows[-1] |= {"effect": float(np.mean(differences)), "spread": float(np.std(differences, axis=1).mean())}
            rows[-1] |= {"pair": float(np.mean(pairs)), "winner": float(np.mean(winners))}
            print(rows[-1], flush=True)
    return rows


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """Power against effect size, a line a number of problems; left a printed pair, right the winner of six."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    effect = {
        d: float(np.mean([row["effect"] for row in rows if row["decades"] == d])) for d in {r["decades"] for r in rows}
    }
    drawing, axes = plt.subplots(1, 2, figsize=(8, 3.2), sharey=True, layout="constrained")
    for axis, what, title in zip(
        axes, ("pair", "winner"), ("a pair is printed", "it is named the winner"), strict=True
    ):
        for problems in sorted({row["problems"] for row in rows}):
            line = [row for row in rows if row["problems"] == problems]
            axis.plot(
                [effect[r["decades"]] for r in line],
                [r[what] for r in line],
                marker="o",
                ms=4,
                label=f"{problems} problems",
            )
        axis.axhline(0.8, color="0.7", lw=0.8, zorder=0)
        axis.set(title=title, xlabel="true difference of mean scores", ylim=(0, 1.02))
    axes[0].set_ylabel("share of simulated suites")
    axes[0].legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["false", "power"])
    parser.add_argument("--suites", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file for the counts")
    asked = parser.parse_args()
    began, rng = time.process_time(), np.random.default_rng(asked.seed)
    rows = (false_claims if asked.what == "false" else power)(asked.suites, rng)
    if asked.what == "power":
        figure(rows, FIGURE)
    if asked.out:
        asked.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{time.process_time() - began:.0f} s of processor time; a pair is claimed at the {ALPHA:.0%} level")


if __name__ == "__main__":
    main()
