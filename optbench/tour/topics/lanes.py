"""What it buys to train many networks as one program."""

from __future__ import annotations

from typing import Any

from optbench.tour.picture import BLUE, INK, ORANGE, SOFT, Control, Frames, Panel, Picture, bars, boxes
from optbench.tour.topic import Topic

DEVICES = {"cpu": "this processor", "cuda": "this GPU"}


def study(passes: float = 90.0, widths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)) -> Any:
    """The same trials in groups of 1 to 64; the clock is that of the group, after a warm-up."""
    import torch

    from optbench.core.trial import Trial
    from optbench.execution.lane_group import run_group
    from optbench.registry.catalog import Catalog

    rates = {}
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for lanes in widths:
            trials = [Trial("mlp_digits", "adam", (), seed, passes, device) for seed in range(lanes)]
            rates[device, lanes] = lanes / run_group(trials, Catalog(), alone=True)[0].seconds
    return rates


def draw(rates: Any) -> Picture:
    """Trials a second by lanes, and when each of the trials would be done."""
    devices = [name for name in DEVICES if any(device == name for device, _ in rates)]
    widths = sorted({lanes for _, lanes in rates})
    many, slowest = widths[-1], max(widths[-1] / rate for rate in rates.values())
    height = [[rates[device, lanes] for lanes in widths] for device in devices]
    columns, wide = [], 0.8 / len(devices)
    for i, (device, colour) in enumerate(zip(devices, (BLUE, ORANGE), strict=False)):
        places = [k + (i - (len(devices) - 1) / 2) * wide for k in range(len(widths))]
        lit = Frames([[colour if j == k else SOFT for j in range(len(widths))] for k in range(len(widths))])
        columns.append(bars(places, height[i], lit, DEVICES[device] if len(devices) > 1 else "", wide))
    best = devices[-1]
    plan = []
    for lanes in widths:
        length = lanes / rates[best, lanes]
        plan.append(
            [(g * length, (g + 1) * length, many - (g + 1) * lanes, many - g * lanes) for g in range(many // lanes)]
        )
    fastest = max(widths, key=lambda lanes: rates["cpu", lanes])
    missing = (
        ""
        if "cuda" in devices
        else " No GPU was found, so there are no bars of one; on a machine with one the page has both."
    )
    return Picture(
        Control(
            "lanes",
            [f"{lanes} trial{'s' * (lanes > 1)} at once" for lanes in widths],
            False,
            len(widths) - 2,
            seconds=7,
        ),
        [
            Panel(
                "Trials a second",
                columns,
                (-0.6, len(widths) - 0.4),
                (0, max(map(max, height)) * 1.1),
                "lanes",
                "trials a second",
                ticks=[(k, str(lanes)) for k, lanes in enumerate(widths)],
                says="The bars grow with the number of lanes, and then no more.",
            ),
            Panel(
                f"When {many} trials are done, on {DEVICES[best]}",
                [boxes(Frames(plan), "#8cc0e0", INK if many <= 16 else "#3f7ca8")],
                (0, slowest * 1.03),
                (0, many),
                "seconds",
                "trials",
                says="Few lanes make a long staircase, many lanes a short block.",
            ),
        ],
        f"One trial at a time: {rates['cpu', widths[0]]:.1f} trials a second. {fastest} at a time: "
        f"{rates['cpu', fastest]:.1f}, "
        f"{rates['cpu', fastest] / rates['cpu', widths[0]]:.1f} times as many.{missing}",
    )


TOPIC = Topic(
    title="Lanes, processors and GPUs",
    question="How do you train sixty networks in the time of a few?",
    says=(
        "A small network leaves a processor waiting: most of the time goes into starting operations, not into "
        "computing.",
        "Lanes put many trials into one program, so each operation is started once for all of them; every trial "
        "gives the same "
        "record as alone.",
        "The gain ends when the processor is busy; a GPU has far more arithmetic to fill, so there it ends much later.",
    ),
    note="Only this page measures seconds. They depend on your machine and on what else runs on it; passes do not.",
    exercise="Replace mlp_digits by line_mse, a network of two parameters. Is the gain of the lanes larger or "
    "smaller, and why?",
    study=study,
    draw=draw,
    quick={"passes": 30.0, "widths": (1, 8, 32)},
    alone=True,
)
