"""Whether somebody won, pair by pair over problems."""

from __future__ import annotations

from optbench.report.analysis.ranking import ALPHA, MIN_POSTERIOR, MIN_PROBLEMS, Ranking
from optbench.report.format import between, listed, number, plural


def winner(ranking: Ranking) -> list[str]:
    """Whether somebody won, pair by pair over problems."""
    if len(ranking.labels) < 2:
        return ["One optimizer took part, so nobody can win."]
    leader = ranking.winner or ranking.order[0]
    score = f"score {between(ranking.iqm[leader])}, where 1 is every target at once and 0 is none by the budget"
    count = plural(len(ranking.problems), "problem")
    if ranking.winner:
        others = [ranking.pairs[leader, other] for other in ranking.labels if other != leader]
        surest = min(pair.posterior.better for pair in others)
        weakest = max(pair.p for pair in others)
        what = "the other" if len(others) == 1 else f"each of the {len(others)} others"
        return [
            f"{leader} wins: over {count} it reaches the targets sooner than {what} ({score}; in every pair a "
            f"probability of at least {number(surest)} of being practically better, and p ≤ {number(weakest)})."
        ]
    level = [label for label in ranking.order if ranking.iqm[label].estimate == ranking.iqm[leader].estimate]
    highest = f"The highest is {leader}" if len(level) == 1 else f"{listed(level)} share the highest"
    most = max(pair.problems for pair in ranking.pairs.values())
    if most < MIN_PROBLEMS:
        return [
            f"No winner is claimed: {count} cannot carry a claim about problems in general (it takes {MIN_PROBLEMS}). "
            f"{highest} ({score})."
        ]
    tied = ranking.group(leader, "same")
    unclear = [label for label in ranking.order if label != leader and label not in tied]
    unclear = [label for label in unclear if ranking.pairs[leader, label].claim == "open"]
    out = [f"No single winner over {count}. {highest} ({score})."]
    if tied:
        out.append(f"{listed(tied)} {'is' if len(tied) == 1 else 'are'} practically the same as {leader}.")
    if unclear:
        best = ranking.pairs[leader, unclear[0]]
        out.append(
            f"The evidence does not tell {leader} from {listed(unclear)} (against {unclear[0]}: better on {best.wins}, "
            f"worse on {best.losses} of {best.problems}, probability {number(best.posterior.better)} of being "
            f"practically better, p = {number(best.p)}; a claim needs {MIN_POSTERIOR:g} and p < {ALPHA:g})."
        )
    beaten = ranking.group(leader, "better")
    if beaten:
        out.append(f"Pair by pair, at the 5 % level each and uncorrected, it is better than {listed(beaten)}.")
    return out
