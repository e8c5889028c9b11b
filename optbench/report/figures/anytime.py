"""Summaries over all problems: ECDF of targets, performance profiles, scores with intervals, ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optbench.report.analysis.ranking import Ranking
from optbench.report.analysis.statistics import Array, ecdf, profile
from optbench.report.analysis.study import Study
from optbench.report.figures.style import (
    GREY,
    PAPER,
    Style,
    letters,
    log,
    most_drawn,
    name_ends,
    short,
    short_all,
    subplots,
    titled,
)
from optbench.report.format import plain, target_name

MAX_LINES = 8  # optimizers that a panel draws in colour; the others are grey lines behind them
PALE = Style("#bbbbbb", "solid", "")


def profile_costs(study: Study, labels: Sequence[str], tau: float) -> Array:
    """(problems, labels) median passes to the target, infinite where missed or not planned."""
    k = study.taus.index(tau)
    problems = [name for name in study.problems if math.isfinite(study.target(name, tau))]
    out = np.full((len(problems), len(labels)), np.inf)
    for i, problem in enumerate(problems):
        for j, label in enumerate(labels):
            rows = study.cells.get((problem, label))
            if rows is not None:
                cost = np.sort(study.passes_to[rows, k])
                out[i, j] = cost[len(cost) // 2]  # the upper median: half the trials are not enough
    return np.asarray(np.maximum(out, 1.0))  # a ratio to a cost below one pass says nothing


def summary(study: Study, ranking: Ranking, styles: Mapping[str, Style]) -> Any:
    """ECDF over (problem, target, seed); Dolan-More profiles of all; the same for the best two alone."""
    if not ranking.labels or not np.isfinite(study.passes_to).any():
        return None
    labels = ranking.order[: most_drawn()]
    figure, ((*axes,),) = subplots(1, 3, PAPER, 2.3, width_ratios=[1.25, 1, 1])
    own = {label: styles[label] if k < MAX_LINES else PALE for k, label in enumerate(labels)}
    ends = _ecdf(axes[0], study, labels[::-1], own)
    named = [(plain(label, study.labels), ends[label], own[label].colour) for label in labels[:MAX_LINES]]
    if others := [ends[label] for label in labels[MAX_LINES:]]:
        named.append((f"{len(others)} others", float(np.median(others)), PALE.colour))
    name_ends(axes[0], named)
    tau = study.headline
    _profiles(axes[1], study, labels, tau, own)
    titled(axes[1], f"cost to the {target_name(tau)}")
    pair = labels[:2]
    _profiles(axes[2], study, pair, tau, styles)
    titled(axes[2], "the same, first two alone")
    return figure


def _ecdf(panel: Any, study: Study, labels: Sequence[str], styles: Mapping[str, Style]) -> dict[str, float]:
    """Draw the shares hit; gives where each line ends."""
    owner = study.trials["label"].to_numpy()
    stated = np.array([[math.isfinite(study.target(p, tau)) for tau in study.taus] for p in study.trials["problem"]])
    end = float(study.trials["budget"].max())
    ends = {}
    for label in labels:
        mine = owner == label
        cost, share = ecdf(study.passes_to[mine][stated[mine]])
        x = np.concatenate([[0.5], np.maximum(cost, 0.5), [max(end, 1.0)]])
        y = np.concatenate([[0.0], share, [share[-1] if len(share) else 0.0]])
        style = styles[label]
        ends[label] = float(y[-1])
        panel.plot(
            x, y, drawstyle="steps-post", color=style.colour, linestyle=style.dash, marker=style.marker,
            markevery=max(1, len(x) // 5),
        )  # fmt: skip
    log(panel, both=False)
    panel.set(ylim=(-0.02, 1.02), xlabel="passes", ylabel="share")
    titled(panel, "(problem, target, seed) hit")
    return ends


def _profiles(panel: Any, study: Study, labels: Sequence[str], tau: float, styles: Mapping[str, Style]) -> None:
    ratios = profile(profile_costs(study, labels, tau))
    finite = ratios[np.isfinite(ratios)]
    end = max(float(finite.max()) * 1.2, 2.0) if len(finite) else 2.0
    if not len(finite):
        panel.text(0.5, 0.5, "no optimizer reaches it on a problem", ha="center", va="center", fontsize=letters(7))
    for j, label in reversed([*enumerate(labels)]):
        x = np.sort(ratios[:, j][np.isfinite(ratios[:, j])])
        y = np.arange(1, len(x) + 1) / max(len(ratios), 1)
        style = styles[label]
        panel.plot(
            np.concatenate([[1.0], x, [end]]), np.concatenate([[0.0], y, [y[-1] if len(y) else 0.0]]),
            drawstyle="steps-post", color=style.colour, linestyle=style.dash, marker=style.marker,
            markevery=max(1, len(x) // 4),
        )  # fmt: skip
    if end > 10:
        log(panel, both=False)
    panel.set(ylim=(-0.02, 1.02), xlabel="times the least cost", ylabel="share of problems")


def scores(ranking: Ranking, styles: Mapping[str, Style]) -> Any:
    """IQM of the score with its interval, and the leader's probability of improvement over each other."""
    if not ranking.labels:
        return None
    order = ranking.order[: most_drawn()]
    chances = ranking.improvements(order[0], order[1:])
    figure, axes = subplots(1, 2 if chances else 1, PAPER, 0.17 * len(order) + 0.75)
    places = np.arange(len(order))[::-1]
    for place, label in zip(places, order, strict=True):
        style, value = styles[label], ranking.iqm[label]
        _mark(axes[0, 0], value.estimate, value.low, value.high, place, style)
        if label in chances:
            _mark(axes[0, 1], chances[label].estimate, chances[label].low, chances[label].high, place, style)
    axes[0, 0].set_xlim(-0.02, None)
    titled(axes[0, 0], "anytime score: IQM and 95 % interval")
    axes[0, 0].set_yticks(places, short_all([*order], 24))
    if chances:
        axes[0, 1].axvline(0.5, color=GREY, linewidth=0.8)
        axes[0, 1].set_xlim(-0.02, 1.02)
        titled(axes[0, 1], f"P({short(order[0], 20)} ends lower than …)")
        axes[0, 1].set_yticks(places, [""] * len(places))
    for panel in axes.flat:
        panel.set_ylim(-0.7, len(places) - 0.3)
    return figure


def _mark(panel: Any, middle: float, low: float, high: float, place: int, style: Style) -> None:
    if math.isfinite(low):
        panel.plot([low, high], [place, place], color=style.colour)
    panel.plot(middle, place, marker=style.marker, color=style.colour, linestyle="none")


def ranks(ranking: Ranking, styles: Mapping[str, Style]) -> Any:
    """Critical-difference diagram (Demsar 2006): mean ranks; bars join what Wilcoxon-Holm does not tell apart."""
    table = ranking.complete
    if len(table) < 2 or len(ranking.labels) < 3:
        return None
    order = sorted(ranking.labels, key=lambda label: ranking.ranks[label])
    runs = bars(order, ranking)
    half = math.ceil(len(order) / 2)
    depth = half + 0.45 * len(runs) + 0.8
    figure, ((panel,),) = subplots(1, 1, PAPER, 0.17 * depth + 0.55)
    best, worst = 1.0, float(len(order))
    span = worst - best
    room = 0.31 * span  # for names
    panel.set(xlim=(best - room, worst + room), ylim=(depth, -0.2))
    panel.plot([best, worst], [0, 0], color="black", linewidth=0.8)
    for tick in range(1, len(order) + 1):
        panel.plot([tick, tick], [0, -0.15], color="black", linewidth=0.8)
        panel.text(tick, -0.25, str(tick), ha="center", va="bottom", fontsize=letters(7))
    for k, (a, b) in enumerate(runs):
        ends = [ranking.ranks[order[a]] - 0.01 * span, ranking.ranks[order[b]] + 0.01 * span]
        panel.plot(ends, [0.4 + 0.45 * k] * 2, color="black", linewidth=2.2, solid_capstyle="round")
    base = 0.45 * len(runs) + 0.7
    for k, label in enumerate(order):
        left = k < half
        line = base + (k if left else len(order) - 1 - k)
        rank, edge = ranking.ranks[label], best - 0.03 * span if left else worst + 0.03 * span
        colour = styles[label].colour
        panel.plot([rank, rank, edge], [0, line, line], color=colour, linewidth=0.9, linestyle=styles[label].dash)
        text = f"{short(label, 22)} {rank:.2f}" if left else f"{rank:.2f} {short(label, 22)}"
        panel.text(edge, line, text, ha="right" if left else "left", va="center", fontsize=letters(7))
    panel.axis("off")
    return figure


def bars(order: Sequence[str], ranking: Ranking) -> list[tuple[int, int]]:
    """The runs of ranks (first, last) that are not told apart: all of them where Friedman's test finds nothing."""
    alpha = ranking.study.alpha
    return cliques(order, ranking.adjusted, alpha) if ranking.friedman < alpha else [(0, len(order) - 1)]


def cliques(order: Sequence[str], p: Mapping[tuple[str, str], float], alpha: float) -> list[tuple[int, int]]:
    """Maximal runs of ranks (first, last) in which no pair differs at the level, each of two or more."""
    runs: list[tuple[int, int]] = []
    for first in range(len(order)):
        last = first
        while last + 1 < len(order) and all(p[order[k], order[last + 1]] >= alpha for k in range(first, last + 1)):
            last += 1
        if last > first and not any(a <= first and last <= b for a, b in runs):
            runs.append((first, last))
    return runs
