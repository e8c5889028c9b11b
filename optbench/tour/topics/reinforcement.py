"""Reinforcement learning: a pole and a pendulum, before and after training."""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.problems.cartpole import EDGE
from optbench.tour.picture import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    SOFT,
    Control,
    Frames,
    Layer,
    Panel,
    Picture,
    boxes,
    dots,
    line,
    text,
)
from optbench.tour.topic import Topic

GHOSTS = 12  # episodes that are drawn faintly
TICK = 0.02, 0.05  # seconds a tick, of the pole and of the pendulum


def study(passes: float = 1200.0) -> Any:
    """A policy for each: the pole by REINFORCE, the pendulum by gradients through its physics; played on new "
    "episodes."""
    import optbench
    from optbench.problems import cartpole, pendulum

    pole = optbench.record("cartpole", "adam[lr=0.02]", passes / 5)[0]
    arm = optbench.record("pendulum", "pso", passes)[0]
    played = {"pole": [pole], "arm": [arm]}
    for k in (0, -1):  # before and after
        played["pole"].append(cartpole.rollout(pole.network(k), *pole.problem.data().test))
        played["arm"].append(pendulum.rollout(arm.network(k), *arm.problem.data().test))
    return played


def draw(played: Any) -> Picture:
    """Both tasks before and after training, moving."""
    pole, arm = played["pole"][0], played["arm"][0]
    panels = [
        Panel(
            f"The pole, {when}",
            _poles(*played["pole"][1 + i]),
            (-2.7, 2.7),
            (-0.6, 1.45),
            bare=True,
            shape=2.05 / 5.4,
            share=1.0,
            says="A cart with a pole. " + ("The pole falls soon." if i == 0 else "The pole stays up."),
        )
        for i, when in enumerate(("before training", "after training"))
    ]
    panels += [
        Panel(
            f"The pendulum, {when}",
            _arms(*played["arm"][1 + i]),
            (-1.9, 1.9),
            (-1.35, 1.35),
            bare=True,
            shape=2.7 / 3.8,
            share=0.7,
            says="A pendulum with a weak motor. " + ("It hangs and swings." if i == 0 else "It swings up."),
        )
        for i, when in enumerate(("before training", "after training"))
    ]
    ticks = len(played["pole"][1][0])
    kept = [float(played["pole"][1 + i][2].sum(0).mean()) for i in range(2)]
    cost = [-float(played["arm"][1 + i][2].detach().sum(0).mean()) for i in range(2)]
    return Picture(
        Control("time in the episode", [f"tick {k + 1} of {ticks}" for k in range(ticks)], seconds=7),
        panels,
        f"On new episodes the pole stays up for {kept[0]:.0f} ticks of {ticks} before training and for "
        f"{kept[1]:.0f} after "
        f"{pole.costs[-1]:.0f} passes. The pendulum's cost falls from {cost[0]:.0f} to {cost[1]:.0f} in "
        f"{arm.costs[-1]:.0f} "
        f"passes. The coloured one is one episode, the grey ones are {GHOSTS} others.",
        cover=(1, 3),
    )


def _poles(states: Any, pushes: Any, rewards: Any) -> list[Layer]:
    where, angle, alive = states[..., 0].numpy(), states[..., 2].numpy(), rewards.numpy() > 0
    last = np.maximum(alive.sum(0) - 1, 0)
    ticks, many = where.shape
    at = np.minimum(np.arange(ticks)[:, None], last)  # a pole that has fallen stays where it fell
    where, angle = np.take_along_axis(where, at, 0), np.take_along_axis(angle, at, 0)
    tip = where + np.sin(angle), np.cos(angle)
    some = range(1, min(many, GHOSTS + 1))
    xs = Frames([[v for i in some for v in (where[k, i], tip[0][k, i], None)] for k in range(ticks)])
    ys = Frames([[v for i in some for v in (0.0, tip[1][k, i], None)] for k in range(ticks)])
    still = [[(0.0, 1.3, "" if alive[k, 0] else f"fallen at tick {last[0] + 1}")] for k in range(ticks)]
    cart = [[(where[k, 0] - 0.3, where[k, 0] + 0.3, -0.22, 0.0)] for k in range(ticks)]
    return [
        line([-EDGE, EDGE], [-0.3, -0.3], GREY, width=2),
        boxes([(-EDGE - 0.04, -EDGE, -0.4, -0.2), (EDGE, EDGE + 0.04, -0.4, -0.2)], GREY),
        line(xs, ys, SOFT, width=2, alpha=0.7),
        boxes(Frames(cart), INK),
        line(
            Frames([[where[k, 0], tip[0][k, 0]] for k in range(ticks)]),
            Frames([[0.0, tip[1][k, 0]] for k in range(ticks)]),
            ORANGE,
            width=6,
        ),
        text(Frames(still), INK, 15),
        text([(0.0, -0.5, "the track: at its ends the episode is over")], GREY, 12),
    ]


def _arms(states: Any, torques: Any, rewards: Any) -> list[Layer]:
    angle = states[..., 0].detach().numpy()
    ticks, many = angle.shape
    first = int(np.argmax(np.abs(np.remainder(angle[0] + np.pi, 2 * np.pi) - np.pi)))  # the one that hangs lowest
    others = [i for i in range(many) if i != first][:GHOSTS]
    x, y = np.sin(angle), np.cos(angle)
    xs = Frames([[v for i in others for v in (0.0, x[k, i], None)] for k in range(ticks)])
    ys = Frames([[v for i in others for v in (0.0, y[k, i], None)] for k in range(ticks)])
    return [
        line([0, 0], [-1.25, 1.25], "#e3e6ea", width=1, dash=(4, 4)),
        text([(0.05, 1.25, "up")], GREY, 13, "left"),
        line(xs, ys, SOFT, width=2, alpha=0.7),
        line(
            Frames([[0, x[k, first]] for k in range(ticks)]),
            Frames([[0, y[k, first]] for k in range(ticks)]),
            BLUE,
            width=6,
        ),
        dots(
            Frames([[0, x[k, first]] for k in range(ticks)]),
            Frames([[0, y[k, first]] for k in range(ticks)]),
            INK,
            size=6,
        ),
    ]


TOPIC = Topic(
    title="Reinforcement learning",
    question="How does a network learn to act when nobody shows it the right action?",
    says=(
        "The network sees the state and chooses a push; all it is told is how long the pole stayed up, or how high "
        "the pendulum "
        "was.",
        "The pole is learned by trial and error: pushes that were followed by long episodes become more likely.",
        "The pendulum is learned by a particle swarm, which needs no derivative: each particle is a policy that plays.",
    ),
    exercise=(
        "Change places: train the pole by 'pso' and the pendulum by 'adam[lr=0.05]'. Which of the two tasks needs "
        "the swarm, "
        "and why does a gradient find so little to follow there?"
    ),
    study=study,
    draw=draw,
    quick={"passes": 450.0},
)
