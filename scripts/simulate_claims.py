"""How often a report claims what is not so, and how often it sees what is, on simulated suites.

    python scripts/simulate_claims.py false     # suites without a difference: how many of them claim one
    python scripts/simulate_claims.py power     # suites with one better optimizer: how many of them say so

Each takes `--suites N` and `--out FILE.json`; `power` draws docs/figures/power_of_claims.png. What lies between
trials and claims is what a report does: settings are chosen seed by seed on the other seeds, and near-duplicates count
as one. `power` runs the report's own code. `false` does the same on whole arrays, for 22 entrants are 45,760 trials a
suite; a test holds both against each other.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from optbench.report.analysis.leave_out import leave_out
from optbench.report.analysis.question import TRAINING, VALIDATION, Question
from optbench.report.analysis.ranking import ALPHA, Ranking, compare
from optbench.report.analysis.selection import SAME, select
from optbench.report.analysis.statistics import Array, anytime_score, holm, signed_ranks
from optbench.report.analysis.study import TUNED, Study, outcomes

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "power_of_claims.png"
TAUS = (0.5, 0.1, 1e-2, 1e-3)
BUDGET = 100.0
CHECKPOINTS = np.concatenate([[0.0], np.geomspace(1.0, BUDGET, 16)])
QUESTIONS = (TRAINING, VALIDATION)
PART = np.log1p(CHECKPOINTS) / np.log1p(BUDGET)  # of its decades that a trial has lost by then: a power of the work


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


class Trials(NamedTuple):
    """(problems, entrants, settings, seeds) each: decades lost over the budget on either loss, and who fails."""

    training: Array
    validation: Array
    failed: np.ndarray


class Claims(NamedTuple):
    """What a ranking claims: whether there is a winner, pairs that are printed, and pairs were nobody to correct.

    robust: printed pairs that hold whichever problem or group is left out. against: claims against the first optimizer,
    were it the reference of a stated analysis.
    """

    winner: bool
    printed: int
    uncorrected: int
    robust: int
    against: int


def draw(suite: Suite, rng: np.random.Generator) -> Trials:
    """All trials of all settings, of optimizers that are the same in law but for `suite.better`.

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
    return Trials(rate, on_validation, failed)


def study_of(suite: Suite, drawn: Trials) -> Study:
    """What a report would read."""
    shape = drawn.failed.shape
    rate, on_validation, failed = (values.ravel() for values in drawn)
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
    points = pd.DataFrame({"trial": np.repeat(np.arange(n), length), "passes": np.tile(CHECKPOINTS, n)})
    points["loss"] = (10.0 ** -(rate[:, None] * PART)).ravel()
    points["valid_loss"] = (10.0 ** -(on_validation[:, None] * PART)).ravel()
    goal: dict[str, Any] = {"start": 1.0, "best": {"value": 0.0, "source": "optimum"}}
    goal["targets"] = {f"{tau:g}": tau for tau in TAUS}
    facts = {name: goal | {"validation": goal} for name in names}
    for column, values in outcomes(trials, points, facts, TRAINING).items():
        trials[column] = values
    groups = {f"twins{k}": [f"p{2 * k}", f"p{2 * k + 1}"] for k in range(suite.twins)}
    families = dict.fromkeys([*plain, *tuned], "plugin")
    marks = dict.fromkeys(tuned, TUNED) if suite.settings > 1 else {}
    return Study(["x"], trials, points, facts, families, [{}], (), marks, groups=groups)


def rankings(suite: Suite, drawn: Trials) -> dict[Question, Ranking]:
    """A suite's ranking under either question, by the report's own code."""
    study = study_of(suite, drawn)
    return {question: Ranking(select(study.asked(question)).study) for question in QUESTIONS}


def claimed(ranking: Ranking) -> Claims:
    """What a ranking claims."""
    pairs = [(a, b) for k, a in enumerate(ranking.labels) for b in ranking.labels[k + 1 :]]
    printed = sum(ranking.claim(a, b) in ("better", "worse") for a, b in pairs)
    bare = sum(ranking.pairs[pair].claim in ("better", "worse") for pair in pairs)
    parts = leave_out(ranking)
    parts = parts[parts["left_out"].isin(ranking.problems)]  # groups as one, and no target or track
    lost = {pair for text in parts["which"] for pair in text.split("; ") if pair}
    against = sum(claim in ("better", "worse") for claim in ranking.against(ranking.study.labels[0]).values())
    return Claims(ranking.winner is not None, printed, bare, printed - len(lost), against)


def claims(suite: Suite, drawn: Trials, question: Question) -> Claims:
    """The same on whole arrays: scores, the choice of settings, means by group, and tests of all pairs."""
    rate = drawn.training if question == TRAINING else drawn.validation
    score = _scores(rate, drawn.failed)
    final = np.where(drawn.failed, np.inf, 10.0 ** -(rate * PART[-1]))
    reported = _reported(np.maximum(final, SAME) if question == TRAINING else final, score)
    twins = reported[: 2 * suite.twins].reshape(suite.twins, 2, *reported.shape[1:]).mean(axis=1)
    means = np.concatenate([twins, reported[2 * suite.twins :]]).mean(axis=-1)  # (units, entrants)
    pairs = [*combinations(range(suite.entrants), 2)]
    p = signed_ranks(np.stack([means[:, a] - means[:, b] for a, b in pairs], axis=1))
    adjusted, table = holm(p), pd.DataFrame(means)
    with_first = [k for k, pair in enumerate(pairs) if 0 in pair]
    to_first = dict(zip(with_first, holm(p[with_first]), strict=True))
    wins: Counter[int] = Counter()
    printed, against = [], 0
    for k in np.flatnonzero(p < ALPHA):  # no claim without it
        first, second = pairs[k]
        claim = compare(table[first], table[second]).claim
        if claim in ("better", "worse"):
            wins[first if claim == "better" else second] += 1
            against += bool(to_first.get(k, 1.0) < ALPHA)
            if adjusted[k] < ALPHA:
                printed.append(k)
    lost = {k for unit in range(len(means)) for k in _lost(np.delete(means, unit, axis=0), pairs, printed)}
    won = max(wins.values(), default=0) == suite.entrants - 1
    return Claims(won, len(printed), wins.total(), len(printed) - len(lost), against)


def _lost(means: Array, pairs: Sequence[tuple[int, int]], printed: Sequence[int]) -> list[int]:
    """Which of the printed pairs these mean scores do not carry."""
    if not printed:
        return []
    p = signed_ranks(np.stack([means[:, a] - means[:, b] for a, b in pairs], axis=1))
    adjusted, table = holm(p), pd.DataFrame(means)
    return [
        k
        for k in printed
        if not (adjusted[k] < ALPHA and compare(table[pairs[k][0]], table[pairs[k][1]]).claim in ("better", "worse"))
    ]


def _scores(rate: Array, failed: np.ndarray) -> Array:
    """The anytime score of every trial, from the first checkpoint that meets each target."""
    with np.errstate(divide="ignore"):
        first = np.searchsorted(PART, -np.log10(TAUS) / rate[..., None])
    costs = np.append(CHECKPOINTS, np.inf)[first]
    return anytime_score(np.where(failed[..., None], np.inf, costs), BUDGET)


def _reported(by: Array, score: Array) -> Array:
    """(problems, entrants, seeds) scores with the setting that is best, by median, on the other seeds."""
    seeds = by.shape[-1]
    others = np.array([[j for j in range(seeds) if j != k] for k in range(seeds)])
    loss, good = np.median(by[..., others], axis=-1), score[..., others].mean(axis=-1)
    ties = np.where(loss == loss.min(axis=2, keepdims=True), -good, np.inf)  # the higher score tells equal losses apart
    return np.take_along_axis(score, ties.argmin(axis=2)[:, :, None], axis=2)[:, :, 0]


def false_claims(suites: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """A row a (number of entrants, question): how many suites without a difference claim one."""
    rows = []
    for entrants in (6, 22):
        counts = {question.name: np.zeros(5, dtype=int) for question in QUESTIONS}
        for _ in range(suites):
            drawn = draw(suite := Suite(entrants=entrants), rng)
            for question in QUESTIONS:
                counts[question.name] += np.array(claims(suite, drawn, question)) > 0
        for name, (winner, pair, bare, robust, against) in counts.items():
            rows.append({"entrants": entrants, "question": name, "suites": suites, "false_winner": int(winner)})
            rows[-1] |= {"false_pair": int(pair), "false_pair_uncorrected": int(bare)}
            rows[-1] |= {"false_robust_pair": int(robust), "false_pair_with_reference": int(against)}
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
                ranking = Ranking(study_of(suite, draw(suite, rng)))
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
