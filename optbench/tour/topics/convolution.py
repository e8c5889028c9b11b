"""What the filters of a convolution see, and what pooling keeps."""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.tour.picture import (
    AMBER,
    BLUE,
    GREYS,
    INK,
    TWO_SIDES,
    Control,
    Frames,
    Layer,
    Panel,
    Picture,
    bars,
    image,
    text,
)
from optbench.tour.topic import Topic

CELL, GAP = 1.0, 0.18


def study(passes: float = 60.0) -> Any:
    """A small convolutional network on digits of 8 x 8 pixels, and its layers at work on one digit of each kind."""
    import optbench

    run = optbench.record("cnn_digits", "adam[lr=0.01]", passes)[0]
    net, (pictures, labels) = run.network(), run.problem.data().test
    ten = pictures[[int((labels == digit).nonzero()[0]) for digit in range(10)]]
    maps = net[:3](ten).detach()
    seen = {"run": run, "filters": net[1].weight.detach(), "pictures": ten, "maps": maps, "pooled": net[3](maps)}
    seen["chances"] = net(ten).softmax(1).detach()
    return seen


def draw(seen: Any) -> Picture:
    """Per digit: the picture, eight filters, what they answer, what pooling keeps, and the answer."""
    count = seen["filters"].shape[0]
    wide = count * (CELL + GAP) + 2.6
    strongest, most = float(seen["filters"].abs().max()), float(seen["maps"].max())
    layers: list[Layer] = [
        image(Frames([1 - one for one in seen["pictures"]]), (0.1, 2.3, 1.2, 3.4), (0, 1), GREYS),
        text([(1.2, 3.65, "the digit")], INK, 13),
        text([(2.6 + count * (CELL + GAP) / 2, 4.68, "eight filters of 3 x 3: orange adds, blue takes away")], INK, 13),
        text([(2.6 + count * (CELL + GAP) / 2, 3.2, "what each filter answers: 8 x 8, dark is strong")], INK, 13),
        text([(2.6 + count * (CELL + GAP) / 2, 1.72, "after pooling: the largest of every 2 x 2")], INK, 13),
    ]
    for i in range(count):
        left = 2.6 + i * (CELL + GAP)
        rows = ((seen["filters"][i, 0], 3.45, (-strongest, strongest), TWO_SIDES),)
        for values, bottom, limits, palette in rows:
            layers.append(image(values, (left, left + CELL, bottom, bottom + CELL), limits, palette))
        for name, bottom in (("maps", 1.95), ("pooled", 0.45)):
            answers = Frames([most - one[i] for one in seen[name]])
            layers.append(image(answers, (left, left + CELL, bottom, bottom + CELL), (0, most)))
    chances = seen["chances"].numpy()
    right = float((chances.argmax(1) == np.arange(10)).mean())
    score = seen["run"].problem.metrics(seen["run"].network(), seen["run"].problem.data().test)["accuracy"]
    return Picture(
        Control("digit", [f"a {digit}" for digit in range(10)], False, 3, seconds=10),
        [
            Panel(
                "From the picture to what pooling keeps",
                layers,
                (0, wide),
                (0.3, 4.95),
                bare=True,
                shape=4.65 / wide,
                share=1.7,
                says="Eight filters answer to edges of the digit. Pooling keeps the answers at half the size.",
            ),
            Panel(
                "What the network answers",
                [
                    bars(
                        range(10),
                        Frames(list(chances)),
                        Frames([[AMBER if i == k else BLUE for i in range(10)] for k in range(10)]),
                    )
                ],
                (-0.6, 9.6),
                (0, 1),
                "digit",
                "probability",
                ticks=[(k, str(k)) for k in range(10)],
                shape=0.75,
                says="The bar of the true digit, in amber, is the highest.",
            ),
        ],
        f"The network names {100 * float(score):.0f} % of the test digits rightly, and {10 * right:.0f} of the ten "
        f"shown here.",
    )


TOPIC = Topic(
    title="What a convolution sees",
    question="What do the layers of an image network look at?",
    says=(
        "A filter is a small pattern that slides over the picture and answers strongly wherever the picture looks "
        "like it.",
        "Nobody chose these filters: gradient descent found patterns of edges and corners, because they help to "
        "tell digits.",
        "Pooling keeps the strongest answer of every 2 x 2 pixels, so a digit that moves a little gives nearly the "
        "same answers.",
    ),
    exercise=(
        "Train with dropout=0.6, as in cnn_digits[dropout=0.6]. Do the filters look different, and does the test "
        "accuracy?"
    ),
    study=study,
    draw=draw,
    quick={"passes": 20.0},
)
