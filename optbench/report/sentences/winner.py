"""Whether somebody won, pair by pair over problems; and those that are not ranked."""

from __future__ import annotations

from optbench.report.analysis.ranking import MIN_POSTERIOR, NO_SCORE, Ranking, min_problems
from optbench.report.format import between, listed, number, percent, plural

SCORE = "A score of 1 is every target at once, and 0 is none by the budget."


def winner(ranking: Ranking) -> list[str]:
    """Who wins, or who is highest and why that is no win."""
    if not ranking.labels:
        return []
    if len(ranking.labels) < 2 and not ranking.winner:
        one = ranking.labels[0]
        if not ranking.apart:
            return ["One optimizer took part, so nobody can win."]
        return [f"Only {one} is ranked, so nobody can win."]
    leader = ranking.winner or ranking.order[0]
    count = _count(ranking)
    if ranking.winner:
        return _won(ranking, leader, count)
    score = between(ranking.iqm[leader])
    level = [label for label in ranking.order if ranking.iqm[label].estimate == ranking.iqm[leader].estimate]
    highest = (
        f"The highest score is that of {leader}" if len(level) == 1 else f"{listed(level)} share the highest score"
    )
    highest = f"{highest}, {score}. {SCORE}"
    ranked = [pair for (first, second), pair in ranking.pairs.items() if {first, second} <= {*ranking.labels}]
    fewest = min_problems(ranking.study.alpha)
    if max(pair.problems for pair in ranked) < fewest:
        return [
            f"No winner is claimed: {count} cannot carry a claim about problems in general.",
            f"Such a claim takes at least {fewest} problems. {highest}",
        ]
    return [f"No single winner over {count}. {highest}", *_against_others(ranking, leader)]


def _count(ranking: Ranking) -> str:
    """How many problems, and how many of them count as one."""
    problems = sum(map(len, ranking.units.values()))
    count = plural(problems, "problem")
    return count if problems == len(ranking.units) else f"{count} in {plural(len(ranking.units), 'group')}"


def _compared(ranking: Ranking, count: int) -> str:
    """How many problems a pair was compared on, where near-duplicates count as one."""
    return plural(count, "problem" if all(len(members) == 1 for members in ranking.units.values()) else "group")


def _won(ranking: Ranking, leader: str, count: str) -> list[str]:
    others = [ranking.pairs[leader, other] for other in ranking.opponents(leader)]
    surest, weakest = min(pair.posterior.better for pair in others), max(pair.p for pair in others)
    what = "the other" if len(others) == 1 else f"each of the {len(others)} others"
    return [
        f"{leader} wins: over {count} it reaches the {ranking.study.question.targets}s sooner than {what}.",
        f"Its score is {between(ranking.iqm[leader])}. {SCORE}",
        f"In every pair it is practically better with a probability of at least {number(surest)}, and p ≤ "
        f"{number(weakest)}.",
    ]


def _against_others(ranking: Ranking, leader: str) -> list[str]:
    out = []
    if same := ranking.group(leader, "same"):
        out.append(f"{listed(same)} {'is' if len(same) == 1 else 'are'} practically the same as {leader}.")
    open_ = ranking.group(leader, "open")
    nothing = [label for label in open_ if ranking.iqm[label].high == 0]
    if unclear := [label for label in open_ if label not in nothing]:
        best = ranking.pairs[leader, unclear[0]]
        out.append(f"The evidence does not tell {leader} from {listed(unclear)}.")
        out.append(
            f"Against {unclear[0]} it is better on {best.wins} and worse on {best.losses} of "
            f"{_compared(ranking, best.problems)}. The probability of being practically better is "
            f"{number(best.posterior.better)}, and p = {number(best.p)}; a claim needs {MIN_POSTERIOR:g} and "
            f"p < {ranking.study.alpha:g}."
        )
    if nothing:
        out.append(f"{listed(nothing)} reached too few targets for a score above 0.")
    if better := ranking.group(leader, "better"):
        pairs, level = plural(len(ranking.adjusted) // 2, "pair"), percent(ranking.study.alpha)
        out.append(
            f"{leader} is better than {listed(better)}, at the {level} level after Holm's correction for {pairs}."
        )
    return out


def not_ranked(ranking: Ranking) -> list[str]:
    """Who is not ranked, why, and how it does on the problems that it shares with the leader."""
    out = []
    if none := [label for label, why in ranking.apart.items() if why == NO_SCORE]:
        out.append(f"{listed(none)} {'is' if len(none) == 1 else 'are'} not ranked, for a score of 0.")
    for label, why in ranking.apart.items():
        if why == NO_SCORE:
            continue
        text = f"{label} is not ranked: it {why}"
        if ranking.order and (pair := ranking.pairs[label, ranking.order[0]]).problems:
            text += f", where it is better than {ranking.order[0]} on {pair.wins} and worse on {pair.losses}"
        out.append(f"{text}.")
    return out
