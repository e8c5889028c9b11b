"""The answer in five seconds: a headline, three numbers, and at most six plain sentences, each under its own word."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from optbench.records.reader import MISSING
from optbench.report.analysis.budget import in_words
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.ranking import Ranking, min_problems
from optbench.report.analysis.seeds import OneProblem
from optbench.report.analysis.statistics import median_interval
from optbench.report.analysis.study import INAPPLICABLE, Study
from optbench.report.format import listed, number, percent, plain, plural, records_of, target_name
from optbench.report.sentences.comparison import regressions
from optbench.report.sentences.comparison import sentences as compared
from optbench.report.sentences.entrants import entered
from optbench.report.sentences.outcomes import completeness

MAX_SENTENCES = 6
_WORSE = "Worse"  # the word of a cell that got worse
MAX_NAMED = 3  # optimizers of a headline; more are counted


class Number(NamedTuple):
    """A number that a reader quotes, and what it is."""

    value: str
    what: str


class Glance(NamedTuple):
    """headline: one sentence. numbers: at most three. sentences: (the word it is about, one sentence), at most six.

    warnings: what is missing, before anything is concluded.
    """

    headline: str
    numbers: list[Number]
    sentences: list[tuple[str, str]]
    warnings: list[str]


def glance(findings: Findings) -> Glance:
    """What the top of the page says."""
    study = findings.study
    missing = completeness(findings.settings)
    if not len(study.trials) or study.no_result.all():
        return Glance(missing[0] if missing else "Nothing was compared.", [], [], missing[1:])
    asked = findings.as_stated
    reached = bool(len(asked.costs)) and bool(np.isfinite(asked.study.passes_to).any())
    said: list[tuple[str, str]] = []
    if findings.comparison:
        said += [("Changes", text) for text in compared(findings.comparison)[:1]]
        said += [(_WORSE, text) for text in regressions(findings.comparison)[:1]]
    if reached:
        said += _one(asked, asked.one_problem) if asked.one_problem else [*_several(asked), *_otherwise(findings)]
    said += [("Failures", _failures(study))]
    if found := _proved(findings):
        said.append(("Proofs", found))
    headline = _headline(asked) if reached else "No trial reached any target."
    if asked is not findings:
        headline = f"By validation loss, as stated beforehand: {headline}"
    numbers = [one for one in (_score(asked), _cost(asked), _tuning(asked), _lost(study)) if one][:3]
    unit = study.unit
    return Glance(
        in_words(headline, unit),
        [Number(one.value, in_words(one.what, unit)) for one in numbers],
        [(word, in_words(text, unit)) for word, text in said][:MAX_SENTENCES],
        missing,
    )


def in_short(findings: Findings, sentences: int) -> list[str]:
    """What a terminal prints: the top of the page without its numbers, then each cell that got worse.

    sentences: of the whole verdict, which the last line points to.
    """
    found = glance(findings)
    said = [f"{word}: {text}" for word, text in found.sentences if word != _WORSE]
    worse = regressions(findings.comparison) if findings.comparison else []
    more = f"The evidence: {plural(sentences, 'sentence')} in report.md"
    return [*found.warnings, found.headline, *said, *worse, *([more] if sentences > 1 else [])]


def _name(findings: Findings, label: str) -> str:
    return plain(label, findings.study.labels)


def _names(findings: Findings, labels: list[str], maximum: int = 12) -> str:
    return listed([_name(findings, label) for label in labels], maximum=maximum)


def _headline(findings: Findings) -> str:
    """One sentence: who is best, or who shares the first place."""
    if found := findings.one_problem:
        return _headline_of_one(findings, found)
    ranking = findings.ranking
    if not ranking.labels:
        return "No optimizer can be ranked."
    count = plural(len(ranking.study.problems), "problem")
    if own := [label for label in entered(ranking.study) if label in ranking.labels]:
        place = ranking.order.index(own[0]) + 1
        return f"{_name(findings, own[0])} is number {place} of {len(ranking.order)} optimizers on {count}."
    if ranking.winner:
        return f"{_name(findings, ranking.winner)} wins on {count}."
    leader = ranking.order[0]
    if len(ranking.order) == 1:
        return f"Only {_name(findings, leader)} can be ranked."
    if len(ranking.problems) < min_problems(ranking.study.alpha):
        return f"{_name(findings, leader)} has the highest score on {count}, too few for a claim about others."
    level = [label for label in ranking.order[1:] if ranking.claim(leader, label) in ("open", "same")]
    if len(level) == len(ranking.order) - 1:
        return f"Nothing separates the {len(ranking.order)} optimizers on {count}."
    if len(level) < MAX_NAMED:
        return f"{_names(findings, [leader, *level])} share the first place on {count}."
    return f"No single winner: {_name(findings, leader)} and {len(level)} others share the first place on {count}."


def _headline_of_one(findings: Findings, found: OneProblem) -> str:
    rows = records_of(found.cells)
    target = target_name(found.tau, findings.study.question.targets)
    if not math.isfinite(rows[0]["passes"]):
        return f"On {found.problem} no optimizer reaches the {target} in most seeds."
    first = _name(findings, rows[0]["label"])
    if len(rows) == 1:
        return f"On {found.problem}, {first} reaches the {target}."
    return f"On {found.problem}, {first} reaches the {target} first."


def _one(findings: Findings, found: OneProblem) -> list[tuple[str, str]]:
    """The only problem: what the first one paid, and from whom the seeds tell it."""
    rows = records_of(found.cells)
    target = target_name(found.tau, findings.study.question.targets)
    out = []
    if math.isfinite(rows[0]["passes"]):
        first = _name(findings, rows[0]["label"])
        seeds = f"{rows[0]['hits']} of {plural(rows[0]['seeds'], 'seed')}"
        out.append(("Cost", f"{first} reaches the {target} at {number(rows[0]['passes'])} passes in {seeds}."))
    if len(rows) > 1 and min(row["seeds"] for row in rows) < 2:
        out.append(("Seeds", "One seed cannot show a difference beyond chance."))
    elif len(rows) > 1:
        against = found.against(rows[0]["label"])
        sooner = [label for label, p in against.items() if p < found.alpha]
        level = [label for label in against if label not in sooner]
        if sooner:
            out.append(("Told apart", f"Over seeds it is sooner than {_names(findings, sooner, 8)} beyond chance."))
        if level:
            out.append(("Not told apart", f"The seeds do not tell it from {_names(findings, level, 8)}."))
    return [*out, ("Scope", f"This holds for {found.problem} alone.")]


def _several(findings: Findings) -> list[tuple[str, str]]:
    """Who is first, and who is not told from it."""
    ranking = findings.ranking
    if not ranking.labels:
        return []
    leader = ranking.winner or ranking.order[0]
    own = [label for label in entered(ranking.study) if label in ranking.labels]
    out = [("Best", f"{_name(findings, leader)} has the highest score, {number(ranking.iqm[leader].estimate)}.")]
    if own and own[0] != leader:
        out.append(("Yours", _yours(findings, own[0])))
    if len(findings.choices) and findings.study.trials["seed"].nunique() == 1:
        out.append(("Seeds", "One seed chose the settings and is reported, which favours the luckiest."))
    if level := [x for x in ranking.order if x != leader and ranking.claim(leader, x) in ("open", "same")]:
        out.append(("Not told apart", f"The evidence does not tell it from {_names(findings, level, 8)}."))
    elif ranking.winner:
        rest = "the other" if len(ranking.order) == 2 else f"each of the {len(ranking.order) - 1} others"
        out.append(("Told apart", f"It is better than {rest} beyond chance."))
    if found := _reached(findings, leader):
        out.append(("Cost", found))
    return out


def _otherwise(findings: Findings) -> list[tuple[str, str]]:
    """Who is first on the question that the headline does not answer."""
    if findings.as_stated is findings:
        other, word, where = findings.generalising, "Generalises", "validation"
    else:
        other, word, where = findings, "Minimises", "training loss"
    if other is None or not other.ranking.labels or other.one_problem:
        return []
    first = other.ranking.order[0]
    score = number(other.ranking.iqm[first].estimate)
    return [(word, f"On {where} {_name(findings, first)} has the highest score, {score}.")]


def _yours(findings: Findings, label: str) -> str:
    ranking: Ranking = findings.ranking
    better, worse = (len(ranking.group(label, claim)) for claim in ("better", "worse"))
    return f"{_name(findings, label)} is better than {better} of {len(ranking.order) - 1} and worse than {worse}."


def _reached(findings: Findings, label: str) -> str:
    found = _solved(findings, label)
    if found is None:
        return ""
    solved, stated, median = found
    target = target_name(findings.study.headline)
    if not solved:
        return f"It reaches the {target} on none of {plural(stated, 'problem')}."
    return (
        f"It reaches the {target} on {solved} of {plural(stated, 'problem')}, at a median of {number(median)} passes."
    )


def _solved(findings: Findings, label: str) -> tuple[int, int, float] | None:
    """(problems on which most seeds reach the headline target, problems that state it, median cost over the first)."""
    costs = findings.costs
    part = costs[(costs["label"] == label) & (costs["tau"] == findings.study.headline)]
    if not len(part):
        return None
    solved = part[2 * part["hits"] > part["trials"]]
    return len(solved), len(part), median_interval(solved["passes"]).estimate if len(solved) else math.inf


def _failures(study: Study) -> str:
    lost = _lost_trials(study)
    total = int((study.trials["status"] != INAPPLICABLE).sum())
    if not lost:
        return f"None of {plural(total, 'trial')} failed."
    return f"{lost} of {plural(total, 'trial')} diverged, failed or were stopped."


def _lost_trials(study: Study) -> int:
    return int((study.no_result & ~study.trials["status"].isin([INAPPLICABLE, MISSING]).to_numpy()).sum())


def _proved(findings: Findings) -> str:
    table = findings.certificates
    if not len(table):
        return ""
    good = table[table["proved"].astype(bool) & table["exact"].astype(bool) & ~table["contradicted"].astype(bool)]
    if not len(good):
        return ""
    problems = [*dict.fromkeys(good["problem"])]
    return f"The optimum of {listed(problems, maximum=5)} is proved, each over its own scope."


def _score(findings: Findings) -> Number | None:
    ranking = findings.ranking
    if findings.one_problem or not ranking.labels or not len(findings.costs):
        return None
    leader = ranking.winner or ranking.order[0]
    found = ranking.iqm[leader]
    ends = f"between {number(found.low)} and {number(found.high)}; " if math.isfinite(found.low) else ""
    return Number(number(found.estimate), f"score of {_name(findings, leader)}: {ends}1 is the most")


def _cost(findings: Findings) -> Number | None:
    study = findings.study
    if not len(findings.costs) or not np.isfinite(study.passes_to).any():
        return None
    if found := findings.one_problem:
        row = records_of(found.cells)[0]
        if not math.isfinite(row["passes"]):
            return None
        what = f"passes of {_name(findings, row['label'])} to the {target_name(found.tau, study.question.targets)}"
        return Number(number(row["passes"]), what)
    if not findings.ranking.labels:
        return None
    leader = findings.ranking.winner or findings.ranking.order[0]
    solved = _solved(findings, leader)
    if solved is None or not solved[0]:
        return None
    what = f"passes of {_name(findings, leader)} to the {target_name(study.headline)}, where it gets there"
    return Number(number(solved[2]), what)


def _tuning(findings: Findings) -> Number | None:
    choices = findings.choices
    if not len(choices):
        return None
    own = findings.study.trials["label"].isin(set(choices["label"])).to_numpy()
    reported = float(findings.study.trials["passes"].to_numpy(dtype=float)[own].sum())
    times = float(choices["passes"].sum()) / max(reported, 1e-9)
    return Number(f"{number(times)} times", "the reported passes went into trying all settings")


def _lost(study: Study) -> Number:
    total = max(int((study.trials["status"] != INAPPLICABLE).sum()), 1)
    return Number(percent(_lost_trials(study) / total), "of the trials have no result")
