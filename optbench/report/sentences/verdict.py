"""The verdict: short sentences, the answer first, then what it rests on."""

from __future__ import annotations

import numpy as np

from optbench.report.analysis.findings import Findings
from optbench.report.analysis.ranking import Ranking
from optbench.report.format import plural
from optbench.report.sentences import certificates, comparison
from optbench.report.sentences.one_problem import one_problem
from optbench.report.sentences.outcomes import completeness, failures
from optbench.report.sentences.reached import lowest_test_loss, reached
from optbench.report.sentences.tuned import tuned
from optbench.report.sentences.winner import not_ranked, winner


def verdict(findings: Findings) -> list[str]:
    """Plain sentences, never empty: the comparison, where there is one, then the study, then what was proved."""
    compared = comparison.sentences(findings.comparison) if findings.comparison else []
    return [*compared, *_study(findings), *certificates.proofs(findings.certificates)]


def _study(findings: Findings) -> list[str]:
    study = findings.study
    out = completeness(findings.settings)
    if not len(study.trials) or study.no_result.all():
        return out
    if not len(findings.costs):
        return [*out, "No targets are stated, so no cost to target can be given; see the final losses below."]
    if not np.isfinite(study.passes_to).any():
        return [*out, f"No trial reached any target on any of {plural(len(study.problems), 'problem')}."]
    found = findings.one_problem
    out += one_problem(found) if found else winner(findings.ranking)
    out += not_ranked(findings.ranking)
    if len(findings.choices):
        out += tuned(study, findings.choices)
    if not found:
        out += reached(study, findings.costs, [*findings.ranking.order, *findings.ranking.apart])
    out += lowest_test_loss(study)
    out += failures(study)
    return [*out, *_switches(findings.ranking)]


def _switches(ranking: Ranking) -> list[str]:
    """Where mean rank orders two optimizers against their own comparison."""
    return [
        f"By mean rank {b} comes before {a}, yet {a} does better on most problems when the two are compared alone. "
        "The other entrants make that rank order, and no claim here rests on it."
        for a, b in ranking.switches()[:2]
    ]
