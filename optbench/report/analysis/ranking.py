"""Who is better than whom, over problems: every claim is about a pair and never depends on who else entered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import floor, log2

import numpy as np
import pandas as pd

from optbench.report.analysis.statistics import (
    Array,
    Interval,
    Posterior,
    dirichlet,
    friedman,
    holm,
    improvement,
    iqm,
    iqm_interval,
    mean_ranks,
    signed_rank,
    signed_rank_posterior,
    superiority,
)
from optbench.report.analysis.study import FREE, TOTAL, TUNED, UNTUNED, Study

ROPE = 0.02  # of the anytime score: about 10 % of the cost of every target, at a budget of 100 passes
MIN_POSTERIOR = 0.95  # the posterior probability that a claim needs
ALPHA = 0.05  # of the signed-rank test that a claim must pass too, for the posterior alone is bold on few problems
DRAWS = 4000
NO_SCORE = "has a score of 0"  # why an optimizer that applies is not ranked
NOT_TUNED = "was not tuned, and others were"
NOT_COUNTED = "had the data, and nothing but its author's word tells what it computed from them"
MIN_APPLIES = 0.5  # share of the problems that an optimizer must apply to in order to be ranked
MAX_INTERVALS = 16  # optimizers up to which probabilities of improvement of all pairs get intervals


@dataclass(frozen=True)
class Pair:
    """One optimizer against another on the problems that both apply to."""

    first: str
    second: str
    problems: int
    wins: int  # problems where the first's mean score is higher by more than the ROPE
    losses: int
    posterior: Posterior
    p: float
    alpha: float = ALPHA  # the level of the test

    @property
    def claim(self) -> str:
        """ "better", "worse", "same" or "open" for the first against the second."""
        if self.p < self.alpha and self.posterior.better >= MIN_POSTERIOR:
            return "better"
        if self.p < self.alpha and self.posterior.worse >= MIN_POSTERIOR:
            return "worse"
        return "same" if self.problems >= min_problems(self.alpha) and self.posterior.same >= MIN_POSTERIOR else "open"


class Ranking:
    """The optimizers of a study against one another, by anytime score: higher is better, no result scores 0.

    labels: those that are ranked. apart: {one that is not: why}; it applies to few problems, has a score of 0, was not
    tuned where others were, or nothing tells what it computed from the data. units: {name: its problems}:
    near-duplicates are one unit, all others stand for themselves.
    More than ten public names, nearly all of them results that are computed once, when a section first asks for them.
    """

    def __init__(self, study: Study, mixed: bool = False) -> None:
        """mixed: tuned and untuned optimizers are ranked together."""
        self.study, self.mixed = study, mixed
        scored = [p for p in study.problems if any(np.isfinite(study.target(p, tau)) for tau in study.taus)]
        self.units = units(scored, study.groups)
        self.problems = [*self.units]
        alone = {
            label: {
                p: known
                for p in scored
                if (rows := study.cells.get((p, label))) is not None and len(known := _known(study.score[rows]))
            }
            for label in study.labels
        }
        self.scores = {
            label: {
                unit: _mean_by_seed([alone[label][p] for p in members if p in alone[label]])
                for unit, members in self.units.items()
                if any(p in alone[label] for p in members)
            }
            for label in study.labels
        }
        scoring = [label for label in study.labels if self.scores[label]]
        self.labels = [label for label in scoring if not self._why_apart(label)]  # those that are ranked
        self.apart = {label: why for label in scoring if (why := self._why_apart(label))}
        self._chances: dict[tuple[str, str], Interval] = {}  # improvements with intervals: table and figure want some

    def _why_apart(self, label: str) -> str:
        """Why an optimizer is not ranked; empty for one that is."""
        planned = [p for members in self.units.values() for p in members if (p, label) in self.study.cells]
        applies = sum(self.study.applies(p, label) for p in planned)
        if applies < MIN_APPLIES * len(planned):
            return f"applies to {applies} of {len(planned)} problems"
        if self.study.axis == TOTAL and self._silent(label):
            return NOT_COUNTED
        mark = self.study.marks.get(label, "")
        if not self.mixed and mark.startswith(UNTUNED) and TUNED in self.study.marks.values() and FREE in mark:
            return NOT_TUNED
        return "" if any(values.any() for values in self.scores[label].values()) else NO_SCORE

    def _silent(self, label: str) -> bool:
        """Whether nobody counted what an optimizer computed by itself."""
        trials = self.study.trials[self.study.trials["label"] == label]
        ended = trials[trials["status"].isin(["spent", "finished"])]
        return bool(len(ended)) and bool(ended["own_flops"].isna().all())

    @cached_property
    def means(self) -> pd.DataFrame:
        """Mean score over seeds: a row a problem, a column an optimizer; NaN where not planned or not applicable."""
        rows = {
            label: {p: float(v.mean()) for p, v in self.scores[label].items() if self._applies(p, label)}
            for label in [*self.labels, *self.apart]
        }
        return pd.DataFrame(rows, index=self.problems, columns=[*rows], dtype=float)

    def _applies(self, unit: str, label: str) -> bool:
        return any(self.study.applies(problem, label) for problem in self.units[unit])

    @cached_property
    def iqm(self) -> dict[str, Interval]:
        """IQM of the score of the ranked, with its stratified bootstrap interval; 0 where one does not apply."""
        return {
            label: iqm_interval(list(self.scores[label].values()), np.random.default_rng(0)) for label in self.labels
        }

    @cached_property
    def order(self) -> list[str]:
        """By IQM, best first; ties, as of all who reach a target in few trials and have an IQM of 0, by the mean."""
        every = {label: np.concatenate(list(self.scores[label].values())) for label in self.labels}
        return sorted(self.labels, key=lambda label: (-iqm(every[label]), -float(every[label].mean())))

    @cached_property
    def pairs(self) -> dict[tuple[str, str], Pair]:
        """Every pair, in both directions, also with those that are not ranked."""
        out: dict[tuple[str, str], Pair] = {}
        everyone = [*self.labels, *self.apart]
        for k, first in enumerate(everyone):
            for second in everyone[k + 1 :]:
                pair = compare(self.means[first], self.means[second], self.study.alpha)
                out[first, second] = pair
                turned = Posterior(pair.posterior.worse, pair.posterior.same, pair.posterior.better)
                out[second, first] = replace(
                    pair, first=second, second=first, wins=pair.losses, losses=pair.wins, posterior=turned
                )
        return out

    @cached_property
    def winner(self) -> str | None:
        """The optimizer that is better than every other ranked one, pair by pair; None where there is none."""
        for label in self.order:
            others = self.opponents(label)
            if others and all(self.pairs[label, other].claim == "better" for other in others):
                return label
        return None

    def opponents(self, label: str) -> list[str]:
        """Those a winner has to beat: the other ranked ones, or, without any, those of score 0."""
        ranked = [other for other in self.labels if other != label]
        return ranked or [other for other, why in self.apart.items() if why == NO_SCORE]

    def group(self, leader: str, claim: str) -> list[str]:
        """The ranked others to which the leader is as `claim` says, corrected for all pairs."""
        return [other for other in self.order if other != leader and self.claim(leader, other) == claim]

    def claim(self, first: str, second: str) -> str:
        """What is claimed of a pair among all: a difference has to survive Holm's correction for all ranked pairs."""
        found = self.pairs[first, second].claim
        if found in ("better", "worse") and not self.adjusted.get((first, second), 1.0) < self.study.alpha:
            return "open"
        return found

    def against(self, reference: str) -> dict[str, str]:
        """{every other ranked optimizer: what is claimed of it against one that was chosen before the results}.

        Holm's correction is for the pairs with that one alone, since no others are asked for.
        """
        others = [label for label in self.order if label != reference]
        adjusted = holm([self.pairs[other, reference].p for other in others])
        out = {}
        for other, p in zip(others, adjusted, strict=True):
            found = self.pairs[other, reference].claim
            out[other] = "open" if found in ("better", "worse") and not p < self.study.alpha else found
        return out

    @cached_property
    def complete(self) -> pd.DataFrame:
        """`means` of the ranked on the problems that all of them apply to: what rank tests over all can use."""
        return self.means[self.labels].dropna(axis=0)

    @cached_property
    def ranks(self) -> dict[str, float]:
        """Mean rank over the common problems, 1 the best."""
        if not len(self.complete):
            return {}
        return dict(zip(self.labels, map(float, mean_ranks(self.complete.to_numpy())), strict=True))

    @cached_property
    def friedman(self) -> float:
        return friedman(self.complete.to_numpy()) if len(self.complete) and len(self.labels) > 1 else 1.0

    @cached_property
    def adjusted(self) -> dict[tuple[str, str], float]:
        """Holm-adjusted signed-rank p of every pair on the common problems, in both directions."""
        table = self.complete
        keys = [(a, b) for k, a in enumerate(self.labels) for b in self.labels[k + 1 :]]
        if len(table) == len(self.problems):  # every pair's own problems are the common ones
            raw = [self.pairs[key].p for key in keys]
        else:
            raw = [signed_rank((table[a] - table[b]).to_numpy()) for a, b in keys]
        out = dict(zip(keys, map(float, holm(raw)), strict=True)) if keys else {}
        return out | {(b, a): p for (a, b), p in out.items()}

    def switches(self) -> list[tuple[str, str]]:
        """Pairs that mean rank puts one way and the pair's own problems the other: an order made by third parties."""
        table, out = self.complete, []
        for k, a in enumerate(self.order[:6]):
            for b in self.order[k + 1 : 6]:
                alone = float(np.sign(table[a] - table[b]).sum())
                together = self.ranks.get(b, 0.0) - self.ranks.get(a, 0.0)
                if alone * together < 0:
                    out.append((a, b) if alone > 0 else (b, a))
        return out

    def improvements(self, first: str, others: Sequence[str], interval: bool = True) -> dict[str, Interval]:
        """P(a trial of `first` ends at a lower loss than one of the other), by the other, over their problems."""
        finals = self._finals
        out = {}
        for other in others:
            if (first, other) in self._chances:
                out[other] = self._chances[first, other]
                continue
            common = [p for p in self.study.problems if self.study.applies(p, first) and self.study.applies(p, other)]
            if not common:
                continue
            a = [finals[self.study.cells[p, first]] for p in common]
            b = [finals[self.study.cells[p, other]] for p in common]
            if interval:
                out[other] = self._chances[first, other] = improvement(a, b, resamples=500)
            else:
                mean = float(np.mean([superiority(x, y) for x, y in zip(a, b, strict=True)]))
                out[other] = Interval(mean, np.nan, np.nan, 0.0)
        return out

    @cached_property
    def _finals(self) -> Array:
        """Final losses to compare: within a millionth of the way from start to best they all are the best, and tie."""
        trials = self.study.trials
        left = trials["left"].to_numpy(dtype=float)
        return np.asarray(np.where(np.isnan(left), trials["final"], np.maximum(left, 1e-6)))

    def table(self) -> pd.DataFrame:
        """Every pair once, with what was found of it; those that are not ranked come last and have no Holm's p."""
        with_intervals = len(self.labels) <= MAX_INTERVALS
        rows = []
        everyone = [*self.order, *self.apart]
        for k, a in enumerate(everyone):
            chances = self.improvements(a, everyone[k + 1 :], with_intervals or k == 0)
            for b in everyone[k + 1 :]:
                pair, chance = self.pairs[a, b], chances.get(b, Interval(np.nan, np.nan, np.nan, 0.0))
                rows.append(
                    {"first": a, "second": b, "problems": pair.problems, "wins": pair.wins, "losses": pair.losses}
                    | {"p_better": pair.posterior.better, "p_same": pair.posterior.same}
                    | {"p_worse": pair.posterior.worse, "signed_rank_p": pair.p}
                    | {"holm_p": self.adjusted.get((a, b), np.nan), "claim": self.claim(a, b)}
                    | {"p_improvement": chance.estimate, "p_improvement_low": chance.low}
                    | {"p_improvement_high": chance.high}
                )
        return pd.DataFrame(rows)


def units(problems: Sequence[str], groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """{name: its problems}: a group with two problems or more here under its name, every other problem by itself."""
    member = {problem: name for name, members in groups.items() for problem in members}
    found: dict[str, list[str]] = {}
    for problem in problems:
        found.setdefault(member.get(problem, problem), []).append(problem)
    return {name if len(members) > 1 else members[0]: members for name, members in found.items()}


def _known(values: Array) -> Array:
    """Those that are known: a split of the data may state no targets."""
    return values[~np.isnan(values)]


def _mean_by_seed(scores: Sequence[Array]) -> Array:
    """(seeds,) the mean over problems, seed by seed, over the seeds that all of them have."""
    seeds = min(map(len, scores))
    mean: Array = np.mean([values[:seeds] for values in scores], axis=0)
    return mean


def min_problems(alpha: float = ALPHA) -> int:
    """The number of problems below which no signed-rank test can pass at a level."""
    return floor(1 - log2(alpha)) + 1


@cache
def posterior_weights(n: int) -> Array:
    """Posterior weights for n problems, a function of n alone, so that no pair's verdict depends on another's."""
    return dirichlet(n, np.random.default_rng([0, n]), DRAWS)


def compare(first: pd.Series, second: pd.Series, alpha: float = ALPHA) -> Pair:
    """Two optimizers' mean scores by problem; a function of the two alone."""
    difference: Array = (first - second).dropna().to_numpy(dtype=float)
    n = len(difference)
    posterior = signed_rank_posterior(difference, ROPE, posterior_weights(n)) if n else Posterior(0.0, 0.0, 0.0)
    wins, losses = int((difference > ROPE).sum()), int((difference < -ROPE).sum())
    return Pair(str(first.name), str(second.name), n, wins, losses, posterior, signed_rank(difference), alpha)
