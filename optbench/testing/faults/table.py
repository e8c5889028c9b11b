"""The table of a campaign, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from optbench.testing.faults.outcome import Outcome

HEAD = "| kind | injected | survived | failed | {}, median s | longest s |\n| --- | --: | --: | --: | --: | --: |"
MAX_REASON = 300  # characters of one failure


def table(outcomes: Sequence[Outcome], seconds: str = "recovery") -> str:
    """A line a kind, and all of them together at the end.

    injected: faults that came while there was something to disturb; survived: those after which everything that is
    verified holds; seconds: what the seconds of the outcomes are, by default those that the same command took
    afterwards, to its end.
    """
    kinds = list(dict.fromkeys(outcome.kind for outcome in outcomes))
    lines = [_line(kind, [outcome for outcome in outcomes if outcome.kind == kind]) for kind in kinds]
    return "\n".join([HEAD.format(seconds), *lines, _line("all", outcomes)]) + "\n"


def _line(name: str, outcomes: Sequence[Outcome]) -> str:
    injected = [outcome for outcome in outcomes if outcome.injected]
    failed = sum(bool(outcome.failures) for outcome in injected)
    seconds = [outcome.seconds for outcome in injected if outcome.seconds]
    median, longest = (f"{f(seconds):.1f}" if seconds else "" for f in (statistics.median, max))
    return f"| {name} | {len(injected)} | {len(injected) - failed} | {failed} | {median} | {longest} |"


def page(outcomes: Sequence[Outcome], seconds: str = "recovery", total: int | None = None) -> str:
    """The table of one or more campaigns with what failed. total: how many are planned, where some are to come."""
    found = sorted(outcomes, key=lambda one: (one.campaign, one.index))
    of = " and ".join(dict.fromkeys(outcome.campaign for outcome in found))
    head = f"{len(found)}{f' of {total}' if total is not None and total > len(found) else ''} {of}."
    return f"{head}\n\n{table(found, seconds)}\n{failures(found)}".rstrip() + "\n"


def failures(outcomes: Iterable[Outcome]) -> str:
    """A line a failed fault: what was done, what was wrong, and the command that does it again."""
    lines = []
    for outcome in outcomes:
        if outcome.injected and outcome.failures:
            reason = "; ".join(text.replace("|", "/")[:MAX_REASON] for text in outcome.failures)
            lines.append(f"- {outcome.kind} ({outcome.detail}): {reason}. Again: `{outcome.again}`")
    return "\n".join(lines) + "\n" if lines else ""
