"""Text in figures can be read: names keep what tells them apart, labels of ticks do not run into each other."""

from __future__ import annotations

from itertools import pairwise

import pytest

from optbench.report.figures.style import log, pyplot, short, short_all


def test_long_names_lose_the_modules_before_the_classes() -> None:
    assert short("pytorch_optimizer:SAM(pytorch_optimizer:Lookahead(adamw))") == "SAM(Lookahead(adamw))"
    assert short("torch.optim:Muon{ndim=2,place=!last} + torch.optim:AdamW") == "Muon{ndim=2,place=!last} + …"
    assert short("torch.optim:NAdam") == "torch.optim:NAdam"
    assert short("sam[rho=0.05,lr=0.01] (tuned, 8)") == "sam[rho=0.05,lr=0.01]"


def test_names_that_would_read_alike_are_told_apart() -> None:
    names = [f"package_of_{who}:AnOptimizerOfALongName" for who in ("one", "two")]
    assert len(set(short_all(names))) == 2
    assert not any("…" in name for name in short_all(names))
    assert [name.replace("\n", "") for name in short_all(names)] == names


@pytest.mark.parametrize(
    "limits", [(1e-5, 2e-2), (1.5e-4, 0.019), (2e-4, 5e-3), (3e-3, 2e-2), (2e-5, 9e-5), (1e-8, 1e3)]
)
def test_ticks_of_a_narrow_panel_do_not_run_into_each_other(limits: tuple[float, float]) -> None:
    figure, axes = pyplot().subplots(figsize=(1.7, 1.5))
    axes.set_xlim(*limits)
    log(axes, both=False)
    axes.set_xlim(*limits)
    figure.canvas.draw()
    low, high = axes.get_window_extent().x0, axes.get_window_extent().x1
    labels = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    shown = sorted((box for box in labels if low <= (box.x0 + box.x1) / 2 <= high), key=lambda box: box.x0)
    assert len(shown) >= 2 and all(one.x1 < two.x0 for one, two in pairwise(shown))
    pyplot().close(figure)


def test_a_limit_set_on_a_linear_axis_does_not_stop_a_logarithmic_one() -> None:
    """Losses from 1e-6 to 1e3, cut above: the margin below them is negative, where no logarithm is."""
    figure, axes = pyplot().subplots()
    axes.plot([1, 2, 3], [1e-6, 1.0, 1e3])
    axes.set_ylim(top=30.0)
    assert axes.get_ylim()[0] < 0
    log(axes)
    low, high = axes.get_ylim()
    assert 0 < low < 1e-6 and high == 30.0
    pyplot().close(figure)
