"""Neurodegeneration: slices of a simulated phantom, what a network reads from them, and markers in the blood."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from optbench.problems.shared import arrays
from optbench.tour.picture import (
    BLUE,
    GREY,
    GREYS,
    HEAT,
    INK,
    ORANGE,
    SOFT,
    Control,
    Frames,
    Panel,
    Picture,
    dots,
    image,
    line,
    text,
)
from optbench.tour.topic import Topic

LEVELS = 11  # severities of the slider
ALIKE = 15  # slices of nearly the same severity whose gradients are averaged
MARKERS, SHUFFLES = 8, 30


def study(passes: float = 120.0) -> Any:
    """A CNN reads the simulated severity from a slice; a small network reads a diagnosis from biomarkers."""
    import torch

    import optbench

    run = optbench.record("mri_synthetic_severity", "adam[lr=0.005,schedule=cosine]", passes)[0]
    net, (slices, severity) = run.network(), run.problem.data().test
    answers = net(slices.requires_grad_())
    gradients = torch.autograd.grad(answers.sum(), slices)[0]
    blood = optbench.record("mlp_alzheimer", "adamw[lr=0.003,weight_decay=0.1]", 60.0)[0]
    found = {"run": run, "slices": slices.detach(), "severity": severity, "answers": answers.detach()}
    found |= {"gradients": gradients, "blood": blood}
    return found


def saliency(found: Any, severity: float) -> np.ndarray:
    """(32, 32) how strongly the answer depends on each pixel: the mean size of the gradient over slices of like "
    "severity."""
    near = (found["severity"].flatten() - severity).abs().argsort()[:ALIKE]
    strength = found["gradients"][near, 0].abs().mean(0).numpy()
    return np.asarray(gaussian_filter(strength, 0.8))


def importance(found: Any) -> list[tuple[str, float]]:
    """Biomarkers with how much the loss on new people rises when one is shuffled, the most important first."""
    archive = arrays("ad_biomarkers.npz")
    names = [
        *(str(name) for name in archive["columns"]),
        *(f"genotype {kind}" for kind in np.unique(archive["genotype"])),
    ]
    problem, net = found["blood"].problem, found["blood"].network()
    data = problem.data()
    x, y = torch.cat([data.valid[0], data.test[0]]), torch.cat([data.valid[1], data.test[1]])
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        usual = float(problem.loss(net, (x, y)))
        rises = []
        for column in range(x.shape[1]):
            total = 0.0
            for _ in range(SHUFFLES):
                mixed = x.clone()
                mixed[:, column] = x[torch.randperm(len(x), generator=draw), column]
                total += float(problem.loss(net, (mixed, y))) - usual
            rises.append(total / SHUFFLES)
    order = np.argsort(rises)[::-1][:MARKERS]
    return [(names[k].replace("_", " ")[:22], float(rises[k])) for k in order]


def draw(found: Any) -> Picture:
    """A slice of the chosen severity, where the network looks, what it answers, and the biomarkers."""
    levels = np.linspace(0.02, 0.98, LEVELS)
    truth, answers = found["severity"].flatten().numpy(), found["answers"].flatten().numpy()
    chosen = [int(np.abs(truth - level).argmin()) for level in levels]
    slices = found["slices"][chosen, 0].numpy()
    maps = [saliency(found, float(level)) for level in levels]
    low, high = np.percentile(slices, 0.5), np.percentile(slices, 99.5)
    strongest = max(float(one.max()) for one in maps)
    square = (0.0, 1.0, 0.0, 1.0)
    grey = image(Frames(list(slices)), square, (low, high), GREYS, smooth=True)
    markers = importance(found)[::-1]
    most = markers[-1][1]
    auc = float(found["blood"].problem.metrics(found["blood"].network(), found["blood"].problem.data().test)["auc"])
    error = float(np.abs(answers - truth).mean())
    return Picture(
        Control("simulated severity", [f"{truth[k]:.2f}" for k in chosen], False, LEVELS - 3, seconds=8),
        [
            Panel(
                "A slice of the phantom",
                [grey],
                bare=True,
                shape=1.0,
                share=0.75,
                says="With the severity the dark ventricles in the middle grow.",
            ),
            Panel(
                "Where the network looks",
                [grey, image(Frames(maps), square, (0, strongest), HEAT, alpha=0.9, smooth=True, fade=True)],
                bare=True,
                shape=1.0,
                share=0.75,
                says="Dark orange marks pixels that change the answer most.",
            ),
            Panel(
                "What it answers, on slices it has never seen",
                [
                    line([0, 1], [0, 1], GREY, "a perfect answer", 1.5, (5, 4)),
                    dots(truth, answers, SOFT, "test slices", 3),
                    dots(
                        Frames([[truth[k]] for k in chosen]),
                        Frames([[answers[k]] for k in chosen]),
                        ORANGE,
                        "this slice",
                        8,
                        INK,
                    ),
                ],
                (0, 1),
                (-0.1, 1.1),
                "simulated severity",
                "answer",
                shape=0.95,
                share=0.95,
                says="The dots lie around the diagonal.",
            ),
            Panel(
                "Biomarkers of 333 people that the diagnosis rests on",
                [
                    *[line([0, rise], [k, k], BLUE, width=9) for k, (_, rise) in enumerate(markers)],
                    text(
                        [(max(rise, 0.0) + 0.03 * most, k, name) for k, (name, rise) in enumerate(markers)],
                        INK,
                        13,
                        "left",
                    ),
                ],
                (0, most * 1.9),
                (-0.7, MARKERS - 0.3),
                "rise of the loss when shuffled",
                numbered=False,
                shape=0.95,
                share=0.95,
                says=f"The most important one is {markers[-1][0]}.",
            ),
        ],
        f"Mean error of the answer on new slices: {error:.2f} of a range of 1; an answer that is always the mean "
        f"misses by "
        f"{np.abs(truth - truth.mean()).mean():.2f}. The diagnosis from biomarkers has an area under the ROC curve "
        f"of {auc:.2f} on "
        "50 new people.",
        cover=(0, 1, 2),
    )


TOPIC = Topic(
    title="Reading a shrinking brain",
    question="Can a small network see how far a brain has shrunk?",
    says=(
        "The slider makes the simulated disease worse: the ventricles grow, and the hippocampi below them shrink.",
        "The network was never told where to look, but its gradient with respect to the pixels shows what its "
        "answer rests on.",
        "The bars come from real people: they show which markers in blood and spinal fluid a network needs to tell "
        "who is "
        "impaired.",
    ),
    note=(
        "The slices are simulated: one real template of a healthy brain, deformed by a formula. They are not "
        "patient data and "
        "support no clinical claim. Real data would need scans of many patients, from several scanners, diagnoses by "
        "physicians, splits by patient, and an ethics vote."
    ),
    exercise=(
        "Train mri_synthetic_severity[dropout=0] instead. Compare the errors on the training slices and on new "
        "ones: what does "
        "dropout buy here?"
    ),
    study=study,
    draw=draw,
    quick={"passes": 60.0},
)
