"""Write the tables of docs/who_beats_adam.md from the records of the suite `modern`, and copy its three figures.

    python -m optbench run modern
    python scripts/pack_results.py results/modern_run results/modern
    python scripts/make_modern.py results/modern

What stands between the two marks of a table is written anew; the rest of the page is for a person to write.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import numpy as np

from optbench.records.reader import read
from optbench.report import draw
from optbench.report.analysis.findings import Findings, findings
from optbench.report.analysis.load import load_study
from optbench.report.analysis.ranking import Ranking

HERE = Path(__file__).parents[1] / "docs"
PAGE, FIGURES = HERE / "who_beats_adam.md", HERE / "figures"
BASELINE = "adam"


def plain(label: str) -> str:
    """The optimizer's name without the words on its tuning."""
    return label.partition(" (tuned")[0]


def against(ranking: Ranking, label: str, baseline: str) -> str:
    """How the optimizer stands to the baseline over problems: better and worse by more than the ROPE, Wilcoxon's p."""
    if label == baseline or label not in ranking.labels or baseline not in ranking.labels:
        return "-"
    pair = ranking.pairs[label, baseline]
    return f"{pair.wins} / {pair.losses} of {pair.problems}, p = {pair.p:.2g}"


def score(ranking: Ranking, label: str) -> str:
    """The interquartile mean with its interval."""
    if label not in ranking.iqm:
        return f"not ranked: {ranking.apart.get(label, 'no record')}"
    middle, low, high = ranking.iqm[label][:3]
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def ends_lower(ranking: Ranking, label: str, baseline: str) -> str:
    """The chance that the optimizer ends at a lower loss than the baseline, with its interval."""
    if label == baseline or label not in ranking.labels:
        return "-"
    chance, low, high = ranking.improvements(label, [baseline])[baseline][:3]
    return f"{chance:.2f} [{low:.2f}, {high:.2f}]"


def own_share(found: Findings, label: str) -> str:
    """Own FLOPs for each FLOP of the problem's: the median over trials, and the largest median of a problem."""
    trials = found.study.trials[found.study.trials["label"] == label]
    share = (trials["own_flops"] / trials["flops"]).dropna()
    if share.empty:
        return "-"
    by_problem = share.groupby(trials["problem"]).median()
    return f"{share.median():.3f}, up to {by_problem.max():.2g} ({by_problem.idxmax()})"


def overview(found: Findings) -> list[str]:
    """A row an optimizer, the highest score in minimising first."""
    first, second = found.ranking, found.generalising
    assert second is not None, "the problems of this suite state targets on validation"
    baseline = next(label for label in first.labels if plain(label) == BASELINE)
    rows = [
        "| optimizer | minimises | better / worse than Adam | ends lower than Adam "
        "| generalises | better / worse than Adam | own work |",
        "|---|---|---|---|---|---|---|",
    ]
    for label in [*first.order, *first.apart]:
        other = next((one for one in second.ranking.labels if plain(one) == plain(label)), label)
        cells = [
            plain(label),
            score(first, label),
            against(first, label, baseline),
            ends_lower(first, label, baseline),
            score(second.ranking, other),
            against(second.ranking, other, baseline),
            own_share(found, label),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def places(found: Findings) -> list[str]:
    """A row a problem: Adam's mean score, the highest ones, and how many are ahead and behind by more than the ROPE."""
    second = found.generalising
    assert second is not None
    rows = [
        "| problem | question | Adam | highest scores | ahead of Adam | within 0.02 | behind |",
        "|---|---|---|---|---|---|---|",
    ]
    for problem in found.ranking.means.index:
        for question, ranking in (("minimises", found.ranking), ("generalises", second.ranking)):
            if problem not in ranking.means.index:
                continue
            means = ranking.means.loc[problem].dropna().rename(plain).sort_values(ascending=False)
            own = float(means[BASELINE])
            others = means.drop(BASELINE)
            best = ", ".join(f"{name} {value:.3f}" for name, value in others.head(3).items())
            ahead, behind = int((others > own + 0.02).sum()), int((others < own - 0.02).sum())
            rows.append(
                f"| {problem} | {question} | {own:.3f} | {best} | {ahead} | {len(others) - ahead - behind} | {behind} |"
            )
    return rows


def filled(page: str, name: str, rows: list[str]) -> str:
    """The page with this table between its marks."""
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    assert pattern.search(page), f"{PAGE} has no mark {start}"
    return pattern.sub("\n".join([start, "", *rows, "", end]).replace("\\", r"\\"), page)


def main() -> None:
    """Read the folder, write the tables, copy the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="RESULTS", help="a packed results folder of the suite `modern`")
    folder = Path(parser.parse_args().folder)
    found = findings(load_study([read(folder)]))
    np.seterr(all="ignore")
    page = PAGE.read_text(encoding="utf-8")
    page = filled(page, "overview", overview(found))
    page = filled(page, "places", places(found))
    PAGE.write_text(page, encoding="utf-8")
    for drawn in draw([folder], ["scores", "summary", "ranks"], folder):
        if drawn.suffix == ".png":
            shutil.move(drawn, FIGURES / f"modern_{drawn.name}")


if __name__ == "__main__":
    main()
