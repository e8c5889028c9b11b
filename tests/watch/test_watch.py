"""The moving picture: recording changes nothing, the plane is what it says, every view fits its data."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from optbench.cli import main
from optbench.core.problem import Batch, Net, Problem, Splits
from optbench.core.trial import RequestError, Trial
from optbench.execution.lane_group import run_group
from optbench.registry.catalog import Catalog
from optbench.watch.film import check_film
from optbench.watch.landscape import Landscape, grid, own_plane, path_plane, window
from optbench.watch.learned import learned
from optbench.watch.page import html
from optbench.watch.recording import record
from optbench.watch.scene import _ellipse, scene

CATALOG = Catalog()


@pytest.mark.parametrize("optimizer", ["adam", "pso", "lbfgs", "torch.optim:NAdam"])
def test_a_recorded_run_is_the_run_itself(optimizer: str) -> None:
    """Bug it would catch: recording draws numbers, moves the point, or counts as work."""
    path = record("mlp_iris", [optimizer], 200.0, 3, CATALOG)[0]
    plain = run_group([Trial("mlp_iris", optimizer, (), 3, 200.0)], CATALOG)[0]
    assert path.costs == sorted(path.costs) and path.costs[-1] == plain.passes
    found = Landscape(CATALOG.problem("mlp_iris")).losses(torch.stack(path.points))
    assert found[0] == pytest.approx(plain.curve[0]["loss"], rel=1e-6)
    assert found[-1] == pytest.approx(plain.curve[-1]["loss"], rel=1e-6)
    assert len(path.points) == len(path.costs) == len(path.clouds) > 7
    assert (path.clouds[-1] is not None) == (optimizer == "pso")


def test_recording_is_off_the_clock_and_bounded() -> None:
    path = record("rosenbrock_2d", ["pso"], 4000.0, 0, CATALOG)[0]
    assert len(path.costs) <= 152 and all(cloud is None or len(cloud) <= 64 for cloud in path.clouds)


def test_a_plane_finds_the_directions_in_which_the_paths_move() -> None:
    draw = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(30, 2, generator=draw, dtype=torch.float64))[0]
    best = torch.randn(30, generator=draw, dtype=torch.float64)
    steps = torch.linspace(0, 1, 20, dtype=torch.float64)
    paths = [best + torch.outer(steps, basis[:, 0] * 3), best + torch.outer(steps, basis[:, 1])]
    plane = path_plane(paths, best, torch.full((30,), 2.0, dtype=torch.float64))
    assert plane.share == pytest.approx(1.0)
    assert torch.allclose(plane.directions.T @ plane.directions, torch.eye(2, dtype=torch.float64))
    for path in paths:  # in the plane, so coordinates lead back to the very points
        assert torch.allclose(plane.points(plane.coordinates(path)), path)
    assert np.allclose(plane.coordinates(best[None]), 0)


def test_a_plane_holds_a_part_of_paths_that_leave_it() -> None:
    paths = [torch.randn(200, 10, generator=torch.Generator().manual_seed(1))]
    plane = path_plane(paths, torch.zeros(10), torch.ones(10))
    assert 0.2 < plane.share < 0.5


def test_the_surface_is_the_function() -> None:
    landscape = Landscape(CATALOG.problem("rosenbrock_2d"))
    surface = grid(landscape, own_plane(2, torch.float64), (-2.0, 2.0, -1.0, 3.0), 5)
    xs, ys = np.meshgrid(np.linspace(-2, 2, 5), np.linspace(-1, 3, 5))
    assert np.allclose(surface, 100 * (ys - xs**2) ** 2 + (1 - xs) ** 2)


def test_filters_are_rows_of_matrices_and_whole_vectors() -> None:
    landscape = Landscape(CATALOG.problem("mlp_iris"))
    net = CATALOG.problem("mlp_iris").network()
    point = torch.cat([p.detach().flatten() for p in net.parameters()])
    expected = []
    for p in net.parameters():
        rows = p.detach().flatten(1) if p.ndim > 1 else p.detach()[None]
        expected.append(rows.norm(dim=1, keepdim=True).expand(rows.shape).flatten())
    assert torch.allclose(landscape.filter_norms(point), torch.cat(expected))


def test_an_ellipse_is_two_standard_deviations_of_the_population() -> None:
    draw = np.random.default_rng(0).normal(size=(4000, 2)) * [3.0, 1.0]
    turn = np.array([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]])
    x, y, first, second, angle = _ellipse(draw @ turn.T + [5.0, -2.0]) or []
    assert x == pytest.approx(5, abs=0.2) and y == pytest.approx(-2, abs=0.2)
    assert first == pytest.approx(6, rel=0.05) and second == pytest.approx(2, rel=0.05)
    assert angle % math.pi == pytest.approx(0.5, abs=0.05)


def test_a_window_holds_the_paths_or_the_box() -> None:
    left, right, bottom, top = window([np.array([[0.0, 0.0], [1.0, 3.0]] * 50)])
    assert left < 0 and right > 1 and bottom < 0 < 3 < top and right - left == pytest.approx(top - bottom)
    assert window([np.zeros((9, 2))], (-2.0, 2.0)) == (-2.0, 2.0, -2.0, 2.0)
    assert window([np.array([[1e9, 0.0]] * 9)], (-2.0, 2.0))[1] <= 6.0  # a path that ran away does not shrink the rest


@pytest.mark.parametrize(
    ("problem", "kind"),
    [("universal", "function"), ("xor_sign", "boundary"), ("mlp_iris", "confusion"), ("mlp_diabetes", None)],
)
def test_what_is_learned_is_shown_as_the_data_allow(problem: str, kind: str | None) -> None:
    optimizer = "random_search" if problem == "xor_sign" else "adam"
    path = record(problem, [optimizer], 10.0, 0, CATALOG)[0]
    view = learned(Landscape(CATALOG.problem(problem)), [path.points])
    assert (view.kind if view else None) == kind
    if view is not None:
        assert len(view.frames[0]) == len(path.points)
    if kind == "confusion" and view is not None:
        shares = np.array(view.frames[0][-1]).reshape(3, 3)
        assert np.allclose(shares.sum(1), 1, atol=0.05)


def test_the_page_holds_the_scene_and_asks_nobody() -> None:
    paths = record("rosenbrock_2d", ["adam", "sep_cma_es"], 300.0, 0, CATALOG)
    seen = scene(CATALOG.problem("rosenbrock_2d"), "rosenbrock_2d", paths)
    assert seen.minimum == (1.0, 1.0)
    assert any(seen.tracks[1].ellipses) and not any(seen.tracks[0].ellipses)
    text = html(seen, "optbench watch '</script>'")
    found = re.search(r'<script type="application/json" id="scene">(.*?)</script>', text, re.S)
    assert found and len(json.loads(found.group(1))["tracks"]) == 2
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert len(text) < 3_000_000


def test_the_command_writes_the_page_and_a_film(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, film = tmp_path / "new" / "page.html", tmp_path / "film.gif"
    given = ["watch", "sphere_2d", "--optimizer", "sgd[lr=0.1]", "--passes", "60"]
    assert main([*given, "--out", str(out), "--film", str(film)]) == 0
    assert out.stat().st_size > 50_000 and film.read_bytes()[:6] == b"GIF89a"
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["sphere_3d"], "unknown problem 'sphere_3d', did you mean"),
        (["sphere_2d", "--optimizer", "adamm"], "unknown optimizer 'adamm'"),
        (["line_mse", "--optimizer", "dp_step"], "dp_step cannot train line_mse: needs 'exact'"),
        (["sphere_2d", "--film", "x.avi"], "a film is a .gif or a .mp4 file"),
        (["sphere[dim=1]", "--optimizer", "adam"], "has one parameter, and a plane needs two"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    given: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["watch", *given]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Flat(Problem):
    """A loss that is the same everywhere."""

    size: int = 2

    track = "function"
    loss_name = "flat"
    passes = 20.0

    def network(self) -> nn.Module:
        return nn.Linear(self.size, 1, bias=False)

    def data(self) -> Splits:
        return Splits((torch.zeros(1, self.size),))

    def loss(self, net: Net, batch: Batch) -> torch.Tensor:
        return net(batch[0]).sum() * 0 + 1.0


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "random_search"])
def test_a_constant_loss_is_refused(size: int, optimizer: str) -> None:
    paths = record(Flat(size), [optimizer], 20.0, 0, CATALOG)
    with pytest.raises(RequestError, match="the loss of flat is the same all over the plane"):
        scene(Flat(size), "flat", paths)


def test_a_large_network_is_seen_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug it would catch: 150 copies of a network of millions of weights fill the memory."""
    monkeypatch.setattr("optbench.watch.recording.MAX_NUMBERS", 700)
    path = record("mlp_iris", ["pso"], 400.0, 0, CATALOG)[0]
    dim = len(path.points[0])
    assert 2 < len(path.points) <= 700 // dim + 2
    assert all(cloud is None or len(cloud) == 1 for cloud in path.clouds)


def test_a_network_of_many_parameters_is_shown_as_a_plane_and_says_so() -> None:
    paths = record("mlp_iris", ["adam", "sgd"], 30.0, 0, CATALOG)
    seen = scene(CATALOG.problem("mlp_iris"), "mlp_iris", paths)
    assert "The problem has 67 parameters" in seen.says and "two directions in which the runs move most" in seen.says


def test_a_run_gives_its_network_and_its_losses_on_every_split() -> None:
    run = record("mlp_iris", ["adam"], 60.0, 1, CATALOG)[0]
    problem = CATALOG.problem("mlp_iris")
    for part in ("train", "test"):
        batch = getattr(problem.data(), part)
        for k in (0, 5, -1):
            with torch.no_grad():
                loss = float(problem.loss(run.network(k), batch))
            assert loss == pytest.approx(run.losses(part)[k], rel=1e-5)


def test_a_run_that_diverges_leaves_the_picture_to_the_others() -> None:
    calm, wild = record("mlp_iris", ["adam", "sgd[lr=1000000.0]"], 60.0, 0, CATALOG)
    assert calm.status == "spent" and wild.status == "diverged"
    assert torch.stack(wild.points).isfinite().all() and not wild.losses()[-1] <= wild.losses()[0]
    problem = CATALOG.problem("mlp_iris")
    assert scene(problem, "mlp_iris", [calm, wild]).window == scene(problem, "mlp_iris", [calm]).window
    json.loads(json.dumps(scene(problem, "mlp_iris", [calm, wild]).data(), allow_nan=False))


def test_without_ffmpeg_a_film_is_a_gif(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matplotlib.animation.FFMpegWriter.isAvailable", classmethod(lambda cls: False))
    with pytest.raises(RequestError, match=r"needs the program ffmpeg, which is not here; write a \.gif"):
        check_film(Path("x.mp4"))
    check_film(Path("x.gif"))
