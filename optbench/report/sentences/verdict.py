"""The verdict: an answer to each question, the answer first, then what it rests on; then where the two disagree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from optbench.report.analysis.budget import SECONDS, in_words
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.question import VALIDATION
from optbench.report.analysis.ranking import Ranking
from optbench.report.analysis.study import ORACLE, Study
from optbench.report.format import plural
from optbench.report.sentences import certificates, comparison
from optbench.report.sentences.disagreement import disagreement
from optbench.report.sentences.entrants import entrants
from optbench.report.sentences.measured_from import measured_from
from optbench.report.sentences.one_problem import one_problem
from optbench.report.sentences.outcomes import completeness, failures
from optbench.report.sentences.reached import lowest_test_loss, reached
from optbench.report.sentences.splits import rests_on
from optbench.report.sentences.stated import stated_beforehand
from optbench.report.sentences.tuned import tuned
from optbench.report.sentences.winner import not_ranked, winner

STOPPED = "A trial that reached it was ended there, so what follows says little of who would have gone further."


class Answer(NamedTuple):
    """A part of the verdict under a title of its own; the title of the first words may be empty.

    more: what the page folds away.
    """

    title: str
    sentences: list[str]
    more: list[str] = []  # noqa: RUF012  # never changed


def answers(findings: Findings) -> list[Answer]:
    """Plain sentences by question: the comparison, where there is one, then the answers, then what was proved."""
    compared = comparison.sentences(findings.comparison) if findings.comparison else []
    missing = completeness(findings.settings)
    if not len(findings.study.trials) or findings.study.no_result.all():
        return [Answer("", [*compared, *missing])]
    asked = [Answer("", [*compared, *missing])]
    if stated := stated_beforehand(findings):
        asked.append(Answer("What was asked beforehand", stated))
    if goal := findings.goal:
        asked.append(Answer(goal.study.question.asks, [*_compared(goal), STOPPED], not_ranked(goal.ranking)))
    asked.append(Answer(findings.study.question.asks, *_minimises(findings)))
    if second := findings.generalising:
        asked.append(Answer(VALIDATION.asks, *_generalises(second)))
        asked.append(Answer("Where the two answers disagree", disagreement(findings.ranking, second.ranking)))
    else:
        asked.append(Answer(VALIDATION.asks, [_not_asked(findings.study), *lowest_test_loss(findings.study)]))
    asked.append(Answer("Proofs", certificates.proofs(findings.certificates)))
    unit = findings.study.unit
    return [
        Answer(one.title, [in_words(text, unit) for text in one.sentences], [in_words(text, unit) for text in one.more])
        for one in asked
        if one.sentences
    ]


def verdict(findings: Findings) -> list[str]:
    """The same as one list, each title before its sentences; never empty."""
    return [text for one in answers(findings) for text in (one.title, *one.sentences, *one.more) if text]


def _minimises(findings: Findings) -> tuple[list[str], list[str]]:
    """Chosen and scored on training loss: the answer, and what it rests on."""
    study, ranking = findings.study, findings.ranking
    if not len(findings.costs):
        return ["No targets are stated, so no cost to target can be given; see the final losses below."], []
    more: list[str] = []
    if np.isfinite(study.passes_to).any():
        more = [*not_ranked(ranking), *_cost_of_tuning(findings)]
        if not findings.one_problem:
            more += reached(study, findings.costs, [*ranking.order, *ranking.apart])
    several = any(len(found) > 1 for found in study.splits.values())
    first, last = (rests_on(study), []) if several else ([], rests_on(study))
    rest = [*more, *failures(study), *_switches(ranking), *last, _axis(study)]
    return [*_compared(findings), *first, *measured_from(study)], rest


def _generalises(findings: Findings) -> tuple[list[str], list[str]]:
    """Chosen and scored on validation: the answer, and what it rests on."""
    return [*_compared(findings), *lowest_test_loss(findings.study)], not_ranked(findings.ranking)


def _compared(findings: Findings) -> list[str]:
    study = findings.study
    if not np.isfinite(study.passes_to).any():
        return [f"No trial reached any {study.question.targets} on any of {plural(len(study.problems), 'problem')}."]
    found = findings.one_problem
    return [*entrants(findings.ranking), *(one_problem(found, study.question) if found else winner(findings.ranking))]


def _cost_of_tuning(findings: Findings) -> list[str]:
    return tuned(findings.study, findings.choices) if len(findings.choices) else []


def _not_asked(study: Study) -> str:
    if any(fact.get("valid") for fact in study.facts.values()):
        return "This folder states no targets on validation, so the question is not answered; a new run states them."
    return "No problem here has validation data, so nothing is said of it."


def _axis(study: Study) -> str:
    if study.unit == SECONDS:
        return "The budget is time on each optimizer's own clock; scoring and compiling are taken off it."
    if study.axis == ORACLE:
        return "Passes count the problem's work alone, not what an optimizer computes by itself."
    return "Passes count the problem's work and what an optimizer computes by itself; test functions count evaluations."


def _switches(ranking: Ranking) -> list[str]:
    """Where mean rank orders two optimizers against their own comparison."""
    return [
        f"By mean rank {b} comes before {a}, yet {a} does better on most problems when the two are compared alone. "
        "The other entrants make that rank order, and no claim here rests on it."
        for a, b in ranking.switches()[:2]
    ]
