"""Four ways to train one network, and the optimum that none of them can pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.tour.picture import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    Control,
    Frames,
    Panel,
    Picture,
    dots,
    line,
    seen_at,
    span,
)
from optbench.tour.topic import Topic

COLOURS = {"adam": BLUE, "pso": ORANGE, "aco_r": GREEN, "dp_step": INK}
NAMES = {"adam": "gradient (Adam)", "pso": "particle swarm", "aco_r": "ant colony", "dp_step": "dynamic programming"}
PLACES = 90  # of the slider


def study(passes: float = 2000.0) -> Any:
    """One network of four steps, four optimizers, one price."""
    import torch

    import optbench

    runs = optbench.record("step_1d[K=4]", ["adam", "pso", "aco_r", "dp_step"], passes)
    x = torch.linspace(0, 1, 121, dtype=torch.float64)[:, None]
    for run in runs:
        run.drawn = [run.network(k)(x).detach() for k in range(len(run.costs))]
        print(run.label, run.costs[-1], run.losses()[-1])
    return runs


def draw(runs: Any) -> Picture:
    """The staircases that the four have learned, and their losses against cost."""
    data = runs[0].problem.data().train
    x = np.linspace(0, 1, 121)
    last = max(run.costs[-1] for run in runs)
    shown, seen = seen_at([[*run.costs] for run in runs], PLACES)
    functions = [dots(data[0].flatten(), data[1].flatten(), "#9aa3ad", "training data", 2.6)]
    curves = []
    best = float(runs[-1].losses()[-1])
    losses = [np.minimum.accumulate(run.losses()) for run in runs]
    for run, at, loss in zip(runs, seen, losses, strict=True):
        name, exact = NAMES[run.label], run.label == "dp_step"
        dash = (7, 4) if exact else ()
        functions.append(line(x, Frames([run.drawn[k].flatten() for k in at]), COLOURS[run.label], name, dash=dash))
        if exact:
            curves.append(line([1, last], [best, best], INK, "proved optimum (dynamic programming)", dash=dash))
        else:
            costs = np.maximum(run.costs, 1.0)
            curves.append(line(costs, loss, COLOURS[run.label], name, upto=Frames([k + 1 for k in at])))
            curves.append(
                dots(Frames([[costs[k]] for k in at]), Frames([[loss[k]] for k in at]), COLOURS[run.label], size=5)
            )
    ends = ", ".join(f"{NAMES[run.label]} {loss[-1]:.3f}" for run, loss in zip(runs[:-1], losses, strict=False))
    return Picture(
        Control("cost", [f"{cost:,.0f} passes" for cost in shown]),
        [
            Panel(
                "What each network computes",
                functions,
                (0, 1),
                span(data[1]),
                "input x",
                "output y",
                says="Four staircases are fitted to noisy data. The one of dynamic programming is the best there is.",
            ),
            Panel(
                "Best training loss so far",
                curves,
                (1, last),
                (best / 1.25, float(max(loss[0] for loss in losses)) * 1.1),
                "cost in passes",
                "mean squared error",
                "xy",
                says="Three curves fall towards the dashed line of the proved optimum and never cross it.",
            ),
        ],
        f"Lowest losses: {ends}. Dynamic programming proves that no network of this shape is below {best:.3f}.",
    )


TOPIC = Topic(
    title="Four ways to train one network",
    question="Do a gradient, a swarm, a colony and dynamic programming find the same network?",
    says=(
        "All four train the same network of four steps on the same data, and each pass costs them the same.",
        "Dynamic programming looks at every place where a step can be, so its answer is proved to be the best.",
        "The other three search: they come closer as they pay more, but they never pass the dashed line.",
    ),
    exercise=(
        "Give the network more steps: replace K=4 by K=8. Which of the searches profits, and what happens to the "
        "distance from the dashed line?"
    ),
    study=study,
    draw=draw,
    quick={"passes": 120.0},
)
