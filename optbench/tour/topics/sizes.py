"""From what size on backpropagation wins."""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.tour.picture import BLUE, GREEN, GREY, INK, ORANGE, Control, Frames, Panel, Picture, dots, line
from optbench.tour.topic import Topic

NAMES = {"adam": "gradient (Adam)", "pso": "particle swarm", "aco_r": "ant colony", "random_search": "random search"}
COLOURS = {"adam": BLUE, "pso": ORANGE, "aco_r": GREEN, "random_search": GREY}


def study(
    passes: float = 1000.0, sizes: tuple[tuple[int, int], ...] = ((2, 2), (4, 5), (8, 10), (16, 18), (30, 32), (60, 50))
) -> Any:
    """A network imitates another one of its own shape, so that the optimum is 0 at every size."""
    import optbench

    rows = []
    for features, hidden in sizes:
        name = f"teacher[features={features},hidden={hidden}]"
        rows.append(optbench.record(name, ["adam", "pso", "aco_r", "random_search"], passes))
        print(name, [(run.label, run.losses()[-1]) for run in rows[-1]])
    return rows


def draw(rows: Any) -> Picture:
    """Losses against cost at one size, and the losses at the end of all sizes."""
    count = [len(row[0].points[0]) for row in rows]
    last = max(run.costs[-1] for run in rows[0])
    bests = [[np.maximum(np.minimum.accumulate(run.losses()), 1e-6) for run in row] for row in rows]
    curves, ends = [], []
    for i, first in enumerate(rows[0]):
        name, colour = NAMES[first.label], COLOURS[first.label]
        costs = Frames([np.maximum(row[i].costs, 1.0) for row in rows])
        curves.append(line(costs, Frames([best[i] for best in bests]), colour, name))
        final = [float(best[i][-1]) for best in bests]
        ends += [line(count, final, colour, name), dots(count, final, colour, size=4)]
        ends.append(dots(Frames([[n] for n in count]), Frames([[loss] for loss in final]), colour, size=8, edge=INK))
    low = min(float(best[-1]) for row in bests for best in row) / 2
    wins = [min(range(len(row)), key=lambda i, row=row: row[i][-1]) for row in bests]
    said = "; ".join(f"{n:,} parameters: {NAMES[rows[0][i].label]}" for n, i in zip(count, wins, strict=True))
    return Picture(
        Control("size of the network", [f"{n:,} parameters" for n in count], False, len(count) - 1, seconds=7),
        [
            Panel(
                "Lowest loss so far, at this size",
                curves,
                (1, last),
                (low, 1.5),
                "cost in passes",
                "mean squared error",
                "xy",
                says="In a small network all curves fall. In a large one only the gradient's does.",
            ),
            Panel(
                "Lowest loss at the end, by size",
                ends,
                (count[0] / 1.3, count[-1] * 1.3),
                (low, 1.5),
                "parameters",
                "mean squared error",
                "xy",
                says="The searches without a gradient end higher and higher as the network grows.",
            ),
        ],
        f"Lowest at the end: {said}.",
    )


TOPIC = Topic(
    title="From what size on backprop wins",
    question="If swarms and colonies can train a network, why does everybody use gradients?",
    says=(
        "A gradient costs about two more passes, and gives one number for every parameter.",
        "A swarm or a colony learns one number from each pass: the loss of one candidate.",
        "So at nine parameters the methods are close, and with every larger network the gradient is further ahead.",
    ),
    exercise=(
        "Give the swarm ten times as many passes at the largest size. Does it catch up? `docs/crossover.md` has "
        "nine sizes, nine "
        "methods and five seeds."
    ),
    study=study,
    draw=draw,
    quick={"passes": 300.0, "sizes": ((2, 2), (8, 10), (30, 32))},
)
