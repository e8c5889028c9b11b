"""The chain rule on a network small enough to write every number down."""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.tour.drawing import growing
from optbench.tour.picture import (
    BLUE,
    GREY,
    ORANGE,
    SOFT,
    Control,
    Frames,
    Layer,
    Panel,
    Picture,
    arrows,
    dots,
    line,
    text,
)
from optbench.tour.topic import Topic

STEPS = (
    ("start: the weights are given", ""),
    ("forward: z = w x + b", "z"),
    ("forward: h = tanh(z)", "h"),
    ("forward: o = v h + c", "o"),
    ("forward: L = (o - y)²", "L"),
    ("back: dL/do = 2 (o - y)", "o"),
    ("back: dL/dv = dL/do · h", "v"),
    ("back: dL/dh = dL/do · v", "h"),
    ("back: dL/dz = dL/dh · (1 - h²)", "z"),
    ("back: dL/dw = dL/dz · x", "w"),
    ("done: the weights move against their gradients", ""),
)
FORWARD, BACK = 4, 5  # the last step forward, the first one back


def study(passes: float = 300.0) -> Any:
    """Backpropagation written out beside autograd, and one sample through the network at the start."""
    import torch

    import optbench

    runs = optbench.record("sine_grid_k3_l3[K=2]", ["sgd_by_hand[lr=0.1]", "sgd[lr=0.1,batch=full]"], passes)
    net, x, y = runs[0].network(0), torch.tensor([[1.25]]).double(), torch.tensor([[1.5]]).double()
    z = net[0](x)
    h = torch.tanh(z)
    o = net[2](h)
    (o - y).square().sum().backward()
    sample = {"runs": runs, "net": net, "x": x, "y": y, "z": z, "h": h, "o": o}
    return sample


def by_hand(sample: dict[str, Any]) -> dict[str, list[float]]:
    """The gradients of the sample, each from the one above it: what the graph shows on the way back."""
    w, v = sample["net"][0].weight.detach().flatten(), sample["net"][2].weight.detach().flatten()
    h, o, x, y = (sample[name].detach().flatten() for name in ("h", "o", "x", "y"))
    at_o = 2 * (o - y)
    at_h = at_o * v
    at_z = at_h * (1 - h**2)
    found = {"o": at_o, "v": at_o * h, "c": at_o, "h": at_h, "z": at_z, "w": at_z * x, "b": at_z}
    assert len(w) == len(v)
    return {name: [float(value) for value in values] for name, values in found.items()}


def draw(sample: dict[str, Any]) -> Picture:
    """The graph with its numbers, and the losses of the two trainings."""
    hand, auto = sample["runs"]
    losses = hand.losses(), auto.losses()
    away = max(float((a - b).abs().max()) for a, b in zip(hand.points, auto.points, strict=True))
    costs = [*hand.costs]
    seen = np.linspace(0, len(costs) - 1, len(STEPS)).round().astype(int).tolist()
    curves = [
        *growing(costs, losses[0], seen, SOFT, "by hand (sgd_by_hand)", width=8),
        *growing(auto.costs, losses[1], seen, BLUE, "autograd (sgd)", dash=(8, 6)),
    ]
    return Picture(
        Control("step", [words for words, _ in STEPS], seconds=16.0),
        [
            Panel(
                "One sample through the network, and its error back",
                _graph(sample),
                (0, 10),
                (0, 6),
                bare=True,
                shape=0.6,
                share=1.6,
                says="Blue numbers flow forward to the loss, orange gradients flow back to the weights.",
            ),
            Panel(
                "Training with either gradient",
                curves,
                (0, costs[-1]),
                (min(losses[0]) / 1.5, max(losses[0]) * 1.5),
                "cost in passes",
                "mean squared error",
                "y",
                shape=0.85,
                says="The two curves lie on top of each other.",
            ),
        ],
        f"Over the whole training the weights of the two differ by {away:.0e} at most: rounding, and nothing else.",
        cover=(0,),
    )


def _graph(sample: dict[str, Any]) -> list[Layer]:
    net, back = sample["net"], by_hand(sample)
    weights = {
        name: [*values.detach().flatten().tolist()] for name, values in zip("wbvc", net.parameters(), strict=True)
    }
    value = {name: sample[name].detach().flatten().tolist() for name in "xyzho"}
    loss = (value["o"][0] - value["y"][0]) ** 2
    rows = (4.4, 1.6)
    nodes = [("x", 0.8, 3.0), ("z", 3.1, rows[0]), ("z", 3.1, rows[1]), ("h", 5.2, rows[0]), ("h", 5.2, rows[1])]
    nodes += [("o", 7.5, 3.0), ("L", 9.3, 3.0)]
    edges = [(0.8, 3.0, 3.1, row) for row in rows] + [(3.1, row, 5.2, row) for row in rows]
    edges += [(5.2, row, 7.5, 3.0) for row in rows] + [(7.5, 3.0, 9.3, 3.0)]
    short = [_shortened(edge) for edge in edges]
    done = [("z", 1), ("h", 2), ("o", 3), ("L", 4)]
    lit, going = [], []
    for k in range(len(STEPS)):
        lit.append(
            [
                BLUE if name == "x" or any(name == one and k >= when for one, when in done) else "#9aa3ad"
                for name, *_ in nodes
            ]
        )
        active = {1: (0, 1), 2: (2, 3), 3: (4, 5), 4: (6,), 5: (6,), 6: (4, 5), 7: (4, 5), 8: (2, 3), 9: (0, 1)}.get(
            k, ()
        )
        going.append([short[i] if k <= FORWARD else (*short[i][2:], *short[i][:2]) for i in active])
    colours = Frames([BLUE if k <= FORWARD else ORANGE for k in range(len(STEPS))])
    numbers = {"x": value["x"], "z": value["z"], "h": value["h"], "o": value["o"], "L": [loss]}
    first = {"x": 0, "z": 1, "h": 2, "o": 3, "L": 4}
    first_back = {"o": 5, "h": 7, "z": 8}
    forward, backward, counted = [], [], {name: 0 for name in numbers}
    for name, x, y in nodes:
        i, counted[name] = counted[name], counted[name] + 1
        forward.append((first[name], (x, y - 0.78, f"{numbers[name][i]:.2f}")))
        if name in first_back:
            backward.append((first_back[name], (x, y + 0.8, f"{back[name][i]:+.2f}")))
    for i in range(len(rows)):  # weights beside their edges
        up = 1 if i == 0 else -1
        forward.append((0, (1.75, 3.0 + up * 1.12, f"w {weights['w'][i]:.2f}")))
        backward.append((9, (1.75, 3.0 + up * 1.62, f"{back['w'][i]:+.2f}")))
        forward.append((0, (6.55, 3.0 + up * 1.12, f"v {weights['v'][i]:.2f}")))
        backward.append((6, (6.55, 3.0 + up * 1.62, f"{back['v'][i]:+.2f}")))
    forward.append((0, (9.2, 1.6, f"y = {value['y'][0]:.2f}")))

    def seen(items: list[tuple[int, Any]]) -> Frames:
        return Frames([[item for when, item in items if k >= when] for k in range(len(STEPS))])

    return [
        *[line([a, c], [b, d], SOFT, width=2) for a, b, c, d in edges],
        arrows(Frames(going), colours, 3.2),
        dots([x for _, x, _ in nodes], [y for *_, y in nodes], Frames(lit), size=17),
        text([(x, y, name) for name, x, y in nodes], "#ffffff", 17, bold=True),
        text(seen(forward), BLUE, 15),
        text(seen(backward), ORANGE, 15, bold=True),
        text(Frames([[(5.0, 5.75, words)] for words, _ in STEPS]), "#222222", 18, bold=True),
        text([(0.1, 0.25, "blue: values, forward")], BLUE, 14, "left"),
        text([(9.9, 0.25, "orange: dL/d…, back")], ORANGE, 14, "right"),
        text([(5.0, 0.25, "biases b and c are there too")], GREY, 12),
    ]


def _shortened(edge: tuple[float, float, float, float], by: float = 0.42) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = edge
    length = float(np.hypot(x1 - x0, y1 - y0))
    dx, dy = (x1 - x0) / length * by, (y1 - y0) / length * by
    return x0 + dx, y0 + dy, x1 - dx, y1 - dy


TOPIC = Topic(
    title="The chain rule, number by number",
    question="How does a weight deep in a network learn what its error was?",
    says=(
        "Going forward, every node computes its value from the nodes before it.",
        "Going back, every node multiplies the gradient that it receives by its own small derivative and passes it on.",
        "Autograd does just this: the training written out by hand makes the same steps, up to rounding.",
    ),
    exercise=(
        "In the code, double the input x. Which gradients change, and why does dL/dw not simply double? "
        "The nonlinearity tanh is flat far from 0."
    ),
    study=study,
    draw=draw,
    quick={"passes": 60.0},
)
