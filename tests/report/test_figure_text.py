"""Text in figures can be read: names keep what tells them apart, labels of ticks do not run into each other."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from helpers.synthetic import Runner, make, problem_facts

from optbench.records.reader import read
from optbench.report.analysis.findings import findings
from optbench.report.analysis.load import load_study
from optbench.report.figures.overview import gap_limits
from optbench.report.figures.style import MEDIA, log, medium, most_drawn, pyplot, short, short_all, styles
from optbench.report.sections.base import Drawing
from optbench.report.sections.order import SECTIONS


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


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Ten optimizers on seven problems, tuned, with names as long as they are in practice."""
    folder = tmp_path_factory.mktemp("figures")
    names = ["rmsprop", "schedule_free_adamw", "differential_evolution", *"abcdefg"]
    runners = {
        f"{name}{k}": Runner(rate=4.0 - 0.2 * k - 0.1 * place, hyper={"lr": 10.0**-k}, name=name)
        for place, name in enumerate(names)
        for k in (1, 2, 3)
    }
    tuned = {name: [f"{name}{k}" for k in (1, 2, 3)] for name in names}
    problems = {f"mlp_of_problem_{k}": problem_facts() for k in range(7)}
    make(folder, runners, problems, seeds=3, points=8, alone=True, tuned=tuned)
    return [read(folder)]


@pytest.mark.parametrize("name", [*MEDIA])
def test_no_text_of_a_figure_is_cut_and_no_titles_meet(study: Any, name: str) -> None:
    plt = pyplot()
    with medium(name), plt.rc_context():
        found = findings(load_study(study))
        drawing = Drawing(styles(found.study.labels, found.study.families), found.study.labels[: most_drawn()])
        contents = [content for section in SECTIONS if (content := section.content(found, drawing)) is not None]
        draws = {figure: draw for content in contents for figure, draw in content.figures.items()}
        assert {"scores", "summary", "ranks", "score_by_cost", "targets"} <= draws.keys()
        assert any(figure.startswith("rates") for figure in draws)
        for figure_name, draw in draws.items():
            figure = draw()
            figure.canvas.draw()
            whole = figure.bbox
            shown = [axes for axes in figure.axes if axes.get_visible()]
            titles = [axes.title.get_window_extent() for axes in shown if axes.get_title()]
            names = [text.get_window_extent() for axes in shown for text in axes.texts]
            labels = [
                axis.label.get_window_extent()
                for axes in shown
                if axes.axison
                for axis in (axes.xaxis, axes.yaxis)
                if axis.label.get_text()
            ]
            legends = [one.get_window_extent() for one in figure.legends]
            for box in (*titles, *names, *labels, *legends):
                inside = whole.x0 - 1 <= box.x0 and box.x1 <= whole.x1 + 1
                assert inside and whole.y0 - 1 <= box.y0 and box.y1 <= whole.y1 + 1, figure_name
            for one, two in combinations(titles, 2):
                assert not one.overlaps(two), figure_name
            plt.close(figure)


def test_an_interval_that_blew_up_does_not_hide_the_others() -> None:
    values = np.array([[1e-3, 1e-4, 1e-2], [0.3, 0.2, 0.4], [0.06, 0.05, 6e10], [np.inf, np.inf, np.inf]])
    low, high = gap_limits(values)
    assert low == 1e-4 and high == pytest.approx(0.9)
    assert gap_limits(np.full((2, 3), np.inf)) == (1e-8, 1.0)
