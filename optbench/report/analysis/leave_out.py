"""Which claims rest on a single target, problem, group or track: each is left out, and what no longer holds is named.

Only claims of the whole study are looked at again. What would be claimed without some part is not said: whoever looks
at a study from forty sides finds a difference on one of them by chance. Settings stay those chosen on the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from optbench.report.analysis.ranking import MIN_POSTERIOR, ROPE, Ranking, posterior_weights, units
from optbench.report.analysis.statistics import Array, anytime_score, holm, signed_rank_posterior, signed_ranks

FEW_DRAWS, NEAR = 500, 0.03  # a posterior farther than this from what a claim needs is told by so many draws


def claims(ranking: Ranking) -> list[tuple[str, str]]:
    """(better, worse) of every difference that is claimed of ranked optimizers."""
    return [(a, b) for a in ranking.order for b in ranking.order if a != b and ranking.claim(a, b) == "better"]


def leave_out(ranking: Ranking) -> pd.DataFrame:
    """A row a part that is left out: kind, left_out, problems, claims, lost, which, winner_lost.

    claims: of the whole study. lost: how many of them do not hold without the part. which: those, in words.
    winner_lost: whether the study has a winner that then is none.
    """
    stated = claims(ranking)
    rows = []
    for kind, name, means in _without(ranking):
        held = _held(means, [*ranking.labels], stated, ranking.study.alpha, ranking.winner)
        lost = [pair for pair in stated if pair not in held.printed]
        rows.append(
            {"kind": kind, "left_out": name, "problems": len(means), "claims": len(stated), "lost": len(lost)}
            | {"which": "; ".join(f"{a} over {b}" for a, b in lost)}
            | {"winner_lost": ranking.winner is not None and not held.winner}
        )
    columns = ["kind", "left_out", "problems", "claims", "lost", "which", "winner_lost"]
    return pd.DataFrame(rows, columns=columns)


class _Held:
    """What still holds: printed pairs, and whether the winner beats everybody."""

    def __init__(self, printed: set[tuple[str, str]], winner: bool) -> None:
        self.printed, self.winner = printed, winner


def _held(
    means: pd.DataFrame, labels: Sequence[str], stated: Sequence[tuple[str, str]], alpha: float, winner: str | None
) -> _Held:
    """The stated claims that hold on other mean scores: a row a problem or group, a column an optimizer."""
    keys = [(a, b) for k, a in enumerate(labels) for b in labels[k + 1 :]]
    place = {pair: k for k, pair in enumerate(keys)} | {(b, a): k for k, (a, b) in enumerate(keys)}
    own = {pair: (means[pair[0]] - means[pair[1]]).dropna().to_numpy(dtype=float) for pair in keys}
    p = _p_values([own[pair] for pair in keys])
    common = means[[*labels]].dropna(axis=0)
    if len(common) == len(means):
        raw = p
    else:
        raw = _p_values([(common[a] - common[b]).to_numpy(dtype=float) for a, b in keys])
    adjusted = holm(raw)

    def better(a: str, b: str) -> bool:
        k = place[a, b]
        difference = own[keys[k]] if keys[k] == (a, b) else -own[keys[k]]
        return bool(p[k] < alpha) and _practically(difference)

    printed = {(a, b) for a, b in stated if adjusted[place[a, b]] < alpha and better(a, b)}
    others = [label for label in labels if label != winner]
    return _Held(printed, winner is not None and all(better(winner, other) for other in others))


def _p_values(differences: Sequence[Array]) -> Array:
    """`signed_rank` of each, those of the same length at once."""
    out = np.ones(len(differences))
    for length in {len(one) for one in differences} - {0}:
        rows = [k for k, one in enumerate(differences) if len(one) == length]
        out[rows] = signed_ranks(np.stack([differences[k] for k in rows], axis=1))
    return out


def _practically(difference: Array) -> bool:
    """Whether the first is practically better with the probability that a claim needs."""
    weights = posterior_weights(len(difference))
    rough = signed_rank_posterior(difference, ROPE, weights[:FEW_DRAWS]).better
    if abs(rough - MIN_POSTERIOR) > NEAR:
        return rough >= MIN_POSTERIOR
    return signed_rank_posterior(difference, ROPE, weights).better >= MIN_POSTERIOR


def _without(ranking: Ranking) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(kind of the part, its name, mean scores without it)."""
    study = ranking.study
    everything = [problem for members in ranking.units.values() for problem in members]
    score = _by_problem(ranking, study.score)
    for problem in everything:
        yield "problem", problem, _by_unit(ranking, score, [one for one in everything if one != problem])
    for unit, members in ranking.units.items():
        if len(members) > 1:
            yield "group", unit, _by_unit(ranking, score, [one for one in everything if one not in members])
    track = {problem: str(study.facts.get(problem, {}).get("track", "unknown")) for problem in everything}
    for name in dict.fromkeys(track.values()):
        rest = [problem for problem in everything if track[problem] != name]
        if rest:
            yield "track", name, _by_unit(ranking, score, rest)
    for tau in study.taus if len(study.taus) > 1 else ():
        part = _by_problem(ranking, _score_without(ranking, tau))
        yield "target", f"{100 * tau:g} %", _by_unit(ranking, part, [*part.index])


def _score_without(ranking: Ranking, tau: float) -> Array:
    """(trials,) anytime scores by the other targets; NaN on problems, and splits of their data, that state no other."""
    study = ranking.study
    budgets = study.trials["budget"].to_numpy(dtype=float)
    known = study.stated & (np.array(study.taus) != tau)
    out = np.where(study.stated.any(axis=1), np.nan, study.score)
    for pattern in np.unique(known, axis=0):
        rows = np.flatnonzero((known == pattern).all(axis=1))
        if pattern.any():
            out[rows] = anytime_score(study.passes_to[rows][:, pattern], budgets[rows])
    return out


def _by_problem(ranking: Ranking, score: Array) -> pd.DataFrame:
    """Mean scores over seeds: a row a problem, a column a ranked optimizer; NaN where it was not planned."""
    study = ranking.study
    problems = [problem for members in ranking.units.values() for problem in members]
    cells = {
        label: {p: _mean(score[rows]) for p in problems if (rows := study.cells.get((p, label))) is not None}
        for label in ranking.labels
    }
    return pd.DataFrame(cells, index=problems, columns=[*ranking.labels], dtype=float).dropna(axis=0, how="all")


def _mean(scores: Array) -> float:
    """The mean over the seeds that have a score: on a split of the data that states no targets there is none."""
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if len(known) else math.nan


def _by_unit(ranking: Ranking, score: pd.DataFrame, problems: Sequence[str]) -> pd.DataFrame:
    """The mean over the problems of each group that are left; NaN where an optimizer applies to none of them."""
    study = ranking.study
    rows = {}
    for unit, members in units([one for one in problems if one in score.index], study.groups).items():
        applies = [any(study.applies(problem, label) for problem in members) for label in ranking.labels]
        rows[unit] = score.loc[members].mean(axis=0).where(np.array(applies))
    return pd.DataFrame.from_dict(rows, orient="index", columns=[*ranking.labels], dtype=float)
