"""Where those who entered beside a reference stand in it: place, score, and what is claimed of the pairs."""

from __future__ import annotations

from optbench.records.reference import ENTRANTS
from optbench.report.analysis.ranking import Ranking, min_problems
from optbench.report.analysis.study import Study
from optbench.report.format import between, listed, percent, plural

BASELINE = "adam"  # the optimizer that others are most often measured against


def entrants(ranking: Ranking) -> list[str]:
    """For each entrant that is ranked: its place and score, its pairs with all, and its pair with Adam."""
    return [text for label in entered(ranking.study) if label in ranking.labels for text in _standing(ranking, label)]


def entered(study: Study) -> list[str]:
    """The competitors that stand beside a reference and are not part of it."""
    plain = study.environments[0].get(ENTRANTS) or ()
    return [*study.trials.loc[study.trials["plain"].isin(plain), "label"].drop_duplicates()]


def _standing(ranking: Ranking, label: str) -> list[str]:
    place = ranking.order.index(label) + 1
    out = [f"{label} is number {place} of {len(ranking.order)} by score, {between(ranking.iqm[label])}."]
    if len(ranking.problems) >= min_problems(ranking.study.alpha):
        claims = {"better": "better than", "worse": "worse than", "same": "practically the same as"}
        said = [
            f"{words} {listed(others)}" for claim, words in claims.items() if (others := ranking.group(label, claim))
        ]
        open_ = ranking.group(label, "open")
        if said:
            pairs = plural(len(ranking.adjusted) // 2, "pair")
            out.append(f"It is {'; '.join(said)} ({percent(ranking.study.alpha)} level, Holm-corrected for {pairs}).")
        if open_:
            rest = listed(open_) if len(open_) <= 3 else f"the {len(open_)} others"
            out.append(f"The evidence does not tell it from {rest}.")
    for other in ranking.labels:
        if other.partition(" ")[0] == BASELINE and other != label:
            pair = ranking.pairs[label, other]
            out.append(
                f"Against {other} it is practically better on {pair.wins} and worse on {pair.losses} of "
                f"{plural(pair.problems, 'problem')}."
            )
    return out
