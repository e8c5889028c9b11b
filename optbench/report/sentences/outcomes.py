"""What is missing, what failed and what does not apply."""

from __future__ import annotations

from optbench.records.reader import MISSING
from optbench.report.analysis.study import INAPPLICABLE, Study
from optbench.report.format import listed, percent, plural


def completeness(study: Study) -> list[str]:
    """What is missing or was lost, before anything is concluded from the rest."""
    total = len(study.trials)
    if not total:
        return ["There are no records and no plan: nothing has been measured yet."]
    missing = int((study.trials["status"] == MISSING).sum())
    if missing == total:
        return [f"None of the {plural(total, 'planned trial')} has a record yet."]
    out = []
    if missing:
        out.append(
            f"The run is incomplete: {missing} of {plural(total, 'planned trial')} left no record. "
            "They count as not having reached any target."
        )
    if study.no_result.all():
        inapplicable = int((study.trials["status"] == INAPPLICABLE).sum())
        ended = {"failed": total - missing - inapplicable, "do not apply": inapplicable, "left no record": missing}
        counts = listed([f"{count} {what}" for what, count in ended.items() if count])
        out.append(f"No trial succeeded: of {plural(total, 'planned trial')}, {counts}. Nothing was compared.")
    return out


def failures(study: Study) -> list[str]:
    """One sentence for all that failed; inapplicable trials are told apart, for they are nobody's failure."""
    status = study.trials["status"]
    out = []
    failed = study.trials[study.no_result & ~status.isin([INAPPLICABLE, MISSING]).to_numpy()]
    if len(failed):
        counts = failed.groupby("label", sort=False).size().sort_values(ascending=False, kind="stable")
        worst = [f"{label} {count}" for label, count in counts.head(5).items()]
        out.append(
            f"{plural(len(failed), 'trial')} of {len(study.trials)} ({percent(len(failed) / len(study.trials))}) "
            f"diverged, failed or were stopped{', among others' if len(counts) > 5 else ''}: {listed(worst)}.",
        )
        out.append("They count as never having reached a target.")
    unfit = study.trials[(status == INAPPLICABLE).to_numpy()]
    if len(unfit):
        who = [
            f"{label} on {plural(part['problem'].nunique(), 'problem')}"
            for label, part in unfit.groupby("label", sort=False)
        ]
        out.append(f"Not applicable: {listed(who, maximum=30)}.")
    return out
