"""Unsupervised learning: reconstructions and the plane in the middle of an autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.report.figures.style import COLOURS
from optbench.tour.drawing import costs_said
from optbench.tour.picture import GREYS, INK, Control, Frames, Layer, Panel, Picture, dots, image, seen_at, span, text
from optbench.tour.topic import Topic

PLACES, SIDE, SHOWN, POINTS = 40, 14, 7, 250
KINDS = ((0, "T-shirt"), (1, "trousers"), (5, "sandal"), (7, "sneaker"), (8, "bag"), (9, "boot"))


def study(passes: float = 400.0) -> Any:
    """An autoencoder squeezes 196 pixels of clothes through two numbers; nobody tells it what the pictures are."""
    import optbench
    from optbench.problems.fashion import pictures

    run = optbench.record("autoencoder_fashion[code=2]", "adam[lr=0.005]", passes)[0]
    x = run.problem.data().test[0]
    found = {"run": run, "pictures": x, "labels": pictures()[2].y}
    found["codes"] = [run.network(k)[:3](x).detach() for k in range(len(run.costs))]
    found["rebuilt"] = [run.network(k)(x).detach().clamp(0, 1) for k in range(len(run.costs))]
    return found


def draw(found: Any) -> Picture:
    """Pictures with their reconstructions, and where each picture lies in the plane of two numbers."""
    run, labels = found["run"], found["labels"].numpy()
    shown, (seen,) = seen_at([run.costs], PLACES)
    chosen = [int(np.flatnonzero(labels == kind)[2]) for kind in (0, 1, 5, 7, 8, 9, 2)][:SHOWN]
    rows: list[Layer] = [
        text([(SHOWN / 2, 2.68, "the picture")], INK, 15),
        text([(SHOWN / 2, 1.23, "rebuilt from two numbers")], INK, 15),
    ]
    for i, which in enumerate(chosen):
        box = (i + 0.04, i + 0.96)
        rows.append(image(1 - found["pictures"][which].reshape(SIDE, SIDE), (*box, 1.4, 2.5), (0, 1), GREYS))
        again = Frames([1 - found["rebuilt"][k][which].reshape(SIDE, SIDE) for k in seen])
        rows.append(image(again, (*box, 0.0, 1.1), (0, 1), GREYS))
    places, limits = [], []
    for k in seen:
        codes = found["codes"][k].numpy()
        low, high = np.percentile(codes, 1, axis=0), np.percentile(codes, 99, axis=0)
        limits.append((span([low[0], high[0]], margin=0.1), span([low[1], high[1]], margin=0.1)))
    for (kind, name), colour in zip(KINDS, COLOURS, strict=False):
        of = np.flatnonzero(labels == kind)[: POINTS // len(KINDS)]
        xs = Frames([found["codes"][k][of, 0] for k in seen])
        places.append(dots(xs, Frames([found["codes"][k][of, 1] for k in seen]), colour, name, 4, "#ffffff"))
    losses = run.losses("test")
    return Picture(
        Control("cost", costs_said(shown)),
        [
            Panel(
                "Clothes, and what comes back",
                rows,
                (0, SHOWN),
                (0, 2.85),
                bare=True,
                shape=2.85 / SHOWN * 1.25,
                share=1.35,
                says="At first all reconstructions are grey. At the end trousers, shoes and bags can be told apart.",
            ),
            Panel(
                "The plane of the two numbers",
                places,
                Frames([x for x, _ in limits]),
                Frames([y for _, y in limits]),
                "first number",
                "second number",
                shape=0.85,
                says="Pictures of the same kind gather, although the network was never told the kinds.",
            ),
        ],
        f"Squared error a pixel on new pictures: {losses[0]:.3f} before training, {losses[-1]:.4f} after it. "
        f"Colours show the "
        "kinds; the training never saw them.",
    )


TOPIC = Topic(
    title="Unsupervised learning",
    question="What can a network learn when nobody gives it answers?",
    says=(
        "The network must give back the picture that it was given, but only two numbers can pass through its middle.",
        "So it has to find two numbers that say most about a piece of clothing.",
        "Pictures of one kind then lie close together: the network found kinds, and nobody had named them.",
    ),
    exercise="Use code=8 in place of code=2. How much smaller does the error become, and can you still draw the plane?",
    study=study,
    draw=draw,
    quick={"passes": 45.0},
)
