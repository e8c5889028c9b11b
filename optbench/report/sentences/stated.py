"""The analysis that was stated beforehand: what it is, its answer, and where this report departs from it."""

from __future__ import annotations

from collections.abc import Sequence

from optbench.records.analysis import Analysis
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.question import TRAINING
from optbench.report.analysis.ranking import Ranking
from optbench.report.analysis.study import Study
from optbench.report.format import listed, percent, plural
from optbench.report.sentences.winner import winner


def stated_beforehand(findings: Findings) -> list[str]:
    """What was stated and whether in time, the answer by it, and departures; empty where nothing was stated."""
    study = findings.study
    if study.followed is None:
        return []
    analysis, before, departures = study.followed
    when = "before any trial had ended" if not before else f"after {plural(before, 'trial')} had ended"
    out = [f"The suite stated its analysis {when}: {analysis.words()}."]
    if before:
        out.append("So it may have been chosen with results in sight.")
    if departures:
        out.append(
            f"This report departs from it: {listed(departures)}. Its answers are not those of the stated analysis."
        )
    asked = findings if analysis.question == TRAINING.name else findings.generalising
    if asked is None:
        return [*out, "No problem here states targets on validation, so the stated question has no answer."]
    return [*out, *_answer(asked.ranking, analysis)]


def _answer(ranking: Ranking, analysis: Analysis) -> list[str]:
    """The reference against every other ranked optimizer, or the winner among all."""
    if not analysis.reference:
        return [f"Its answer: {text}" if k == 0 else text for k, text in enumerate(winner(ranking)[:2])]
    found = reference(ranking.study, ranking.labels, analysis.reference)
    if len(found) != 1:
        why = "stands for several optimizers here" if found else "is not among the ranked optimizers"
        return [f"The reference {analysis.reference} {why}, so the stated question has no answer."]
    against = ranking.against(found[0])
    claims = ("better", "worse", "same", "open")
    groups = {word: [label for label, claim in against.items() if claim == word] for word in claims}
    words = {"better": "Better than", "worse": "Worse than", "same": "Practically the same as"}
    level = f"{percent(analysis.alpha)} level, Holm-corrected for {plural(len(against), 'pair')} with it"
    out = [f"{words[word]} {found[0]} ({level}): {listed(groups[word])}." for word in words if groups[word]]
    if groups["open"]:
        out.append(f"Not told from {found[0]}: {listed(groups['open'])}.")
    return out


def reference(study: Study, labels: Sequence[str], name: str) -> list[str]:
    """The ranked optimizers that the name of a reference stands for: the label itself, or all settings of that name."""
    if name in labels:
        return [name]
    return [label for label in labels if label.partition(" ")[0].partition("[")[0] == name.partition("[")[0] == name]
