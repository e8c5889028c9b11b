"""What an optimizer computes by itself: against hand formulas, the same for any number of lanes, off the clock."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.dp_cases import Small
from helpers.plugins import quiet

from optbench.core.own_work import FIRST, GROWTH, OwnWork
from optbench.core.trial import Trial
from optbench.core.watching import Watch
from optbench.engine.metered import metered
from optbench.execution.lane_group import run_group, train
from optbench.optimizers.evolution.cma_es import generation_work
from optbench.optimizers.exact.dp_grid import DPGrid
from optbench.optimizers.exact.dp_merge import merge
from optbench.optimizers.exact.dp_segments import Absolute, Labels, Squared
from optbench.optimizers.exact.dp_step import table_work
from optbench.optimizers.exact.work import collected, did
from optbench.optimizers.gradient.elementwise import stacked_settings
from optbench.optimizers.gradient.probes import _FOUND
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog

CATALOG = Catalog()
DIGITS = 2410  # parameters of mlp_digits


def record(problem: str, optimizer: str, passes: float = 20.0, lanes: int = 1, **hyper: Any) -> Record:
    settings = tuple(sorted(hyper.items()))
    return run_group([Trial(problem, optimizer, settings, seed, passes) for seed in range(lanes)], CATALOG)[0]


def watched(work: Any) -> float:
    own = OwnWork(1, quiet)
    with own.counting():
        work()
    return own.flops[0]


@pytest.mark.parametrize(
    ("optimizer", "settings", "each"),
    [
        ("sgd", {}, 2),  # p - lr g
        ("momentum", {}, 4),  # v = mu v + g, p - lr v
        ("adam", {}, 13),  # m 3, v 1 + 3, square root, division, epsilon, p 3
        ("adamw", {}, 14),  # and the decay
        ("rmsprop", {}, 9),  # v 1 + 3, square root, epsilon, p 3
    ],
)
@pytest.mark.parametrize("lanes", [1, 4])
def test_a_torch_step_costs_what_its_formula_says(optimizer: str, settings: dict, each: int, lanes: int) -> None:
    found = record("mlp_digits", optimizer, lanes=lanes, **settings)
    assert found.own_flops is not None
    assert found.own_flops / found.evaluations == pytest.approx(
        each * DIGITS, rel=0.05
    )  # and the first step is looked at


def test_newton_and_schulz_cost_their_matrix_products() -> None:
    """Muon on 50 x 20: five times X X^T, A A and B X, in 2 m n k FLOPs each, on the side that is shorter."""
    p = torch.nn.Parameter(torch.randn(50, 20))
    p.grad = torch.randn_like(p)
    found = watched(torch.optim.Muon([p], lr=0.01).step)
    products = 5 * (2 * 20 * 50 * 20 + 2 * 20 * 20 * 20 + 2 * 20 * 20 * 50)
    others = 5 * (3 * 20 * 20 + 4 * 50 * 20) + 20 * 50 * 20
    assert products < found < products + others


def test_a_two_loop_recursion_costs_its_inner_products() -> None:
    """L-BFGS with h pairs: 4 h inner products and updates of D numbers, each 2 D, and some of its own."""
    plain = {"line_search_fn": None, "max_iter": 1, "lr": 0.1, "batch": "full"}  # a direction an evaluation
    few, many = (record("mlp_digits", "lbfgs", 90.0, history_size=size, **plain) for size in (1, 20))
    assert few.own_flops is not None and many.own_flops is not None
    pairs = sum(min(k, 20) - min(k, 1) for k in range(many.evaluations))
    assert few.evaluations == many.evaluations
    assert many.own_flops - few.own_flops == pytest.approx(8 * DIGITS * pairs, rel=0.05)


@pytest.mark.parametrize(
    ("work", "flops"),
    [
        (lambda v, m: v.dot(v), 2 * 20),
        (lambda v, m: m @ v, 2 * 30 * 20),
        (lambda v, m: torch.addmv(torch.ones(30), m, v), 2 * 30 * 20),
        (lambda v, m: m @ m.T, 2 * 30 * 20 * 30),
    ],
)
def test_a_product_is_two_operations_a_number(work: Any, flops: int) -> None:
    v, m = torch.ones(20), torch.ones(30, 20)
    assert watched(lambda: work(v, m)) == pytest.approx(flops, abs=31)  # and the ones that were made


@pytest.mark.parametrize(
    ("optimizer", "settings", "low", "high"),
    [
        ("pso", {"swarm": 30}, 12, 16),  # two draws, two pulls of 3, the sum, the move, the best so far
        ("random_search", {}, 3, 6),
        ("openai_es", {}, 3, 9),
    ],
)
def test_a_candidate_of_a_population_costs_a_few_operations_a_parameter(
    optimizer: str, settings: dict, low: float, high: float
) -> None:
    one, more = record("mlp_digits", optimizer, 60.0, **settings), record("mlp_digits", optimizer, 60.0, 3, **settings)
    assert one.own_flops is not None and more.own_flops == pytest.approx(one.own_flops, rel=0.02)
    assert low * DIGITS < one.own_flops / one.evaluations < high * DIGITS


def test_an_ant_costs_the_distances_to_its_archive() -> None:
    """Socha & Dorigo: sigma_i = xi sum over the k = 50 of the archive of |s_e,i - s_l,i|, so 2 k D at least an ant."""
    less, more = record("mlp_digits", "aco_r", 80.0), record("mlp_digits", "aco_r", 140.0)
    assert less.own_flops is not None and more.own_flops is not None
    ant = (more.own_flops - less.own_flops) / (more.evaluations - less.evaluations)
    assert 2 * 50 * DIGITS < ant < 4 * 50 * DIGITS


def test_a_generation_of_cma_es_costs_its_matrices() -> None:
    """D = 10, 10 candidates: by hand 4 * 10 * 100 + 6 * 100 + 2 * 10 * 10, and 9 * 1000 a decomposition."""
    assert generation_work(10, 10, 0, diagonal=False) == 4800
    assert generation_work(10, 10, 1, diagonal=False) == 13800
    assert generation_work(10, 10, 0, diagonal=True) == 4 * 100 + 60 + 200
    found = record("sphere", "cma_es", 100.0)
    assert found.own_flops is not None and found.own_flops > 10 * 4800 * 0.9


@pytest.mark.parametrize(("groups", "breaks"), [(5, 2), (12, 4), (40, 3)])
def test_the_table_of_dp_step_costs_its_entries(groups: int, breaks: int) -> None:
    y, ends = np.random.default_rng(0).normal(size=(groups, 1)), np.arange(groups + 1)
    entries = sum(j for j in range(1, groups + 1))
    assert table_work(Squared(y, ends), groups, breaks) == entries * (6 + 2 * breaks)
    labels = np.zeros(groups, np.int64)
    assert table_work(Labels(labels, ends, 3), groups, breaks) == entries * (7 + 2 * breaks)
    assert table_work(Absolute(y, ends), groups, breaks) == entries * (6 * groups.bit_length() + 10 + 2 * breaks)


def by_hand(levels: int, n: int) -> float:
    """Everything that dp_grid adds, multiplies, compares or sorts for y = x on n samples: one identity unit, no biases.

    levels: L grid values, so that a unit has L responses and L contributions: v x. Only the contribution x itself
    may still fit, so one partial sum is kept.
    """
    units: float = 2 * levels * n + levels  # v x and its penalty, for every grid value v
    units += 2 * levels * n + 2 * levels * n + levels * math.log2(levels)  # rounded, hashed, sorted
    units += levels * n + 2 * levels * n + 2 * levels * n + levels * math.log2(levels)  # activated, ordered
    products = levels**2  # of a response and an outgoing weight
    actions = products * n + products + 2 * products * n + 2 * products * n + products * math.log2(products)
    bound = n + 2 * n * n + 10 * n  # of a partial sum: y - s, its turned coordinates, two distances to boxes
    beam = bound + 5 * levels * n + 4 * levels  # the guess: the empty sum, then every contribution is tried
    extend = levels * n + levels + levels * bound + 2 * (4 * n + 1)  # every sum, and the one that is kept merged twice
    match = 4 * n * n + 2 * (n + 1) + 2 + 5 * n + 3  # turned coordinates, one pair's gain, its exact value
    return units + actions + beam + extend + match


@pytest.mark.parametrize(("values", "samples"), [((-1, 1), 1), ((-1, 1), 3), ((-1, 0, 1), 2)])
def test_the_tables_of_dp_grid_cost_what_a_count_by_hand_says(values: tuple[float, ...], samples: int) -> None:
    x = torch.arange(1.0, samples + 1, dtype=torch.float64)[:, None]
    f = metered(Small(x, x.clone(), (1, 1, 1), "identity", bias=(False, False), grid=values), (0,), 10.0)
    train(DPGrid(), f, 0)
    hand = by_hand(len(values), samples)
    (stated,) = f._own._charged
    assert stated == pytest.approx(hand, rel=1e-12)
    assert hand <= f.spent.own_flops[0] < hand + 60  # beside it: the point is handed over and a few numbers looked at


def test_the_table_of_dp_step_is_in_the_record() -> None:
    step = record("step_1d", "dp_step", 100.0)
    groups = len(np.unique(CATALOG.problem("step_1d").data().train[0]))
    assert step.own_flops == pytest.approx(groups * (groups + 1) / 2 * (6 + 2 * 4), rel=0.05)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_a_merge_says_what_it_hashed_and_sorted(rows: int) -> None:
    with collected() as work:
        merge(np.arange(3 * rows).reshape(rows, 3), np.zeros(rows))
    assert work.flops == 2 * 3 * rows + rows * math.log2(max(2, rows))


def test_work_is_collected_by_the_innermost_and_lost_outside() -> None:
    did(5.0)
    with collected() as outer:
        did(1.0)
        with collected() as inner:
            did(2.0)
    assert (outer.flops, inner.flops) == (1.0, 2.0)


@pytest.mark.parametrize("problem", ["sine_grid_k3_l3", "sine_grid_k4_l2", "sine_grid_k5_l2"])
def test_a_sweep_of_ddp_costs_what_a_count_by_hand_says(problem: str) -> None:
    """N = 16 samples, one output, r = 16: r + 1 backward passes and a rollout; beyond them own work.

    A layer of p = n_out (n_in + 1) weights pulls r vectors back, makes (r, r) products, factorises, and solves for q_x.
    """
    found = record(problem, "ddp", 500.0)
    n = r = 16
    sweeps, rest = divmod(found.backward, n * (r + 1))
    assert rest == 0 and found.evaluations == sweeps + 1
    assert found.forward == sweeps * n + found.evaluations * n
    hand = 0.0
    for layer in CATALOG.problem(problem).network().modules():
        if isinstance(layer, torch.nn.Linear):
            i, o = layer.in_features, layer.out_features
            hand += (r + 1) * (2 * n * o + 4 * n * o * i)  # pulled back: slopes and bias, products with x and with W
            hand += 2 * r * r * o * (i + 1) + 2 * r * r + r**3 / 3 + r * r * n * i  # q q^T, I + ./lam, C, C^-1 q_x
            hand += 4 * r * r + 4 * r * o * (i + 1) + 4 * r * n * i  # k and the feedback: two solves, and products
            hand += 4 * n * o * i  # forward, and rolled out
    assert found.own_flops is not None
    forward, backward = (metered(CATALOG.problem(problem), (0,), 500.0)._meter.costs.of(*k) for k in ((1, 0), (0, 1)))
    charged = sweeps * (n * forward + n * (r + 1) * backward)
    assert found.own_flops + charged == pytest.approx(sweeps * hand, rel=0.1)


def test_solving_with_a_factor_costs_by_the_sides_it_is_solved_for() -> None:
    """n = 8, 40 right sides: a triangle n^2 each, two triangles 2 n^2; a full solve 2/3 n^3 more."""
    root, sides = torch.eye(8), torch.ones(8, 40)
    assert watched(lambda: torch.linalg.solve_triangular(root, sides, upper=False)) == 8 * 8 * 40
    assert watched(lambda: torch.cholesky_solve(sides, root)) == 2 * 8 * 8 * 40
    assert watched(lambda: torch.linalg.solve(root, sides)) == pytest.approx(2 * 8**3 / 3 + 2 * 8 * 8 * 40, abs=2)
    assert watched(lambda: torch.linalg.solve(root, sides[:, 0])) == pytest.approx(2 * 8**3 / 3 + 2 * 8 * 8, abs=2)


class Silent:
    """Takes the data, trains by itself and hands in the result."""

    needs, lanes, full_batch = "exact", False, True

    def minimise(self, f: Any) -> None:
        f.structure()
        f.value(f.start(1))


@pytest.mark.parametrize(
    ("optimizer", "settings", "multiple"),
    [("sgd", {}, 0), ("momentum", {}, 1), ("adam", {}, 2), ("rmsprop", {}, 1), ("pso", {"swarm": 30}, 3 * 30)],
)
@pytest.mark.parametrize("lanes", [1, 3])
def test_the_state_of_an_optimizer_is_what_its_tensors_hold(
    optimizer: str, settings: dict[str, Any], multiple: int, lanes: int
) -> None:
    """Momentum one, Adam two numbers a parameter; a particle its place, velocity and best place."""
    found = record("mlp_digits", optimizer, lanes=lanes, **settings)
    assert found.state_bytes is not None
    assert found.state_bytes / (4 * DIGITS) == pytest.approx(multiple, rel=0.05, abs=0.01)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_the_state_is_the_same_wherever_its_tensors_lie_in_memory(optimizer: str) -> None:
    """Adam's counts of steps are made by torch.tensor; memory that was freed a moment ago is nobody's."""
    found, kept = set(), []
    for k in range(8):
        kept = [torch.zeros(1 + (7 * j * (k + 1)) % 17) for j in range(20 * k)][:: k + 1]
        found.add(record("mlp_iris", optimizer).state_bytes)
    assert kept
    numbers = 67 * {"adam": 2, "rmsprop": 1}[optimizer]
    counts = 4 * 4 + 8  # a step a parameter tensor, and the points in an average, of which there are none
    assert found == {4 * numbers + counts}


def test_state_in_the_arrays_of_another_library_is_not_made_up() -> None:
    assert record("mlp_digits", "scipy_lbfgsb").state_bytes is None


CHEAT = """
import numpy as np
import torch
from optbench import Objective

class Cheat:
    needs, lanes, full_batch = "exact", False, True

    def minimise(self, f: Objective) -> None:
        data = f.structure()
        for _ in range(300):
            np.linalg.svd(np.random.default_rng(0).normal(size=(20, 20)))  # where nobody looks
        f.charge_own(1.0)
        f.value(f.start(1))
"""


def test_a_method_of_others_that_had_the_data_is_not_counted_whatever_it_states(tmp_path: Path) -> None:
    (file := tmp_path / "cheat.py").write_text(CHEAT)
    catalog = Catalog((str(file),))
    name = f"{file}:Cheat" if "Cheat" not in catalog.optimizers else "Cheat"
    found = run_group([Trial("sine_grid_k3_l3", name, (), 0, 10.0)], catalog)[0]
    assert found.status == "finished", found.error
    assert found.own_flops is None and found.note is not None and "nothing checks them" in found.note
    own = run_group([Trial("sine_grid_k3_l3", "dp_grid", (), 0, 10.0)], CATALOG)[0]
    assert own.own_flops is not None and own.note is None  # the same oracle, a count that is tested


def test_who_had_the_data_and_charges_nothing_is_not_counted() -> None:
    f = metered(CATALOG.problem("sine_grid_k3_l3"), (0,), 10.0)
    assert train(Silent(), f, 0)[0] == "finished"  # type: ignore[arg-type]
    assert not f.finish().charged_own
    g = metered(CATALOG.problem("sine_grid_k3_l3"), (0,), 10.0)
    train(DPGrid(), g, 0)
    assert g.finish().charged_own


def test_counting_changes_no_number_and_no_clock_and_ends_with_the_trial() -> None:
    adam = CATALOG.optimizer("adam", {}).optimizer
    plain, counted = (metered(CATALOG.problem("mlp_iris"), (0,), 50.0) for _ in range(2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            adam.minimise(plain)
        except BaseException as end:
            assert type(end).__name__ == "Stop"
    train(adam, counted, 0)
    assert [p["loss"] for p in plain.finish().curves[0]] == [p["loss"] for p in counted.finish().curves[0]]
    assert plain.spent.own_flops == (0,) < counted.spent.own_flops
    assert 0 < counted.spent.own_seconds < counted.spent.seconds
    assert torch._C._len_torch_dispatch_stack() == 0


def test_an_error_in_a_watched_stretch_leaves_nothing_watching() -> None:
    own = OwnWork(1, quiet)
    with pytest.raises(ZeroDivisionError), own.counting():
        torch.ones(3) + 1
        raise ZeroDivisionError
    assert torch._C._len_torch_dispatch_stack() == 0 and own.flops == [3]


def test_stretches_that_are_not_watched_cost_what_the_latest_watched_ones_did() -> None:
    own = OwnWork(2, quiet)
    x = torch.ones(10)
    with own.counting():
        for _ in range(3 * FIRST):
            x + 1
            with own:
                torch.ones(1000) + 1  # the oracle's own work is not counted
    assert own.flops == [(3 * FIRST * 10) / 2] * 2
    grown = OwnWork(1, quiet)
    with grown.counting():
        for k in range(GROWTH * FIRST + 2 * FIRST):
            torch.ones(1 if k < GROWTH * FIRST else 100) + 1
            with grown:
                pass
    assert grown.flops == [GROWTH * FIRST + 2 * FIRST * 100]


@pytest.mark.parametrize("first", range(10))
def test_what_is_done_in_every_tenth_step_is_neither_missed_nor_taken_for_usual(first: int) -> None:
    """SOAP decomposes its matrices so: a watched part that is no whole number of its periods charges 0 or twice."""
    own, steps = OwnWork(1, quiet), 300
    with own.counting():
        for step in range(steps):
            with own:
                pass  # draws the minibatch
            with own:
                pass  # evaluates it
            torch.ones(1000 if step % 10 == first else 1) + 1
    assert own.flops[0] == pytest.approx(steps / 10 * 1000, rel=0.05)


def test_a_slow_stretch_adds_no_time_that_did_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine pauses in the first stretch that is not watched: the watched ones must not be taken for as slow."""
    clock = iter([0.001 * k for k in range(2 * FIRST)] + [1.0, 2.0, 2.001])
    monkeypatch.setattr("optbench.core.own_work.perf_counter", lambda: next(clock))
    shift: list[float] = []
    own = OwnWork(1, shift.append)
    with own.counting():
        for _ in range(FIRST + 1):
            with own:
                pass
    assert own.seconds == pytest.approx(1.0 + 0.001 * FIRST) and sum(shift) == pytest.approx(0.0)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", "torch.optim:NAdam"])
def test_what_is_found_out_by_trying_is_nobodys_work(optimizer: str) -> None:
    """Bug it would catch: the first trial of a process pays for the probes of its class."""
    trials = [Trial("mlp_iris", optimizer, (), seed, 10.0) for seed in range(2)]
    stacked_settings.cache_clear()
    _FOUND.clear()
    first, again = (run_group(trials, Catalog())[0].own_flops for _ in range(2))
    assert first == again and first


@pytest.mark.parametrize("settings", [{}, {"history_size": 7, "lr": 0.1}])
def test_work_that_changes_over_a_trial_is_charged_as_it_is_done(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """L-BFGS collects pairs, and once it has converged it does nothing: neither is told from its first steps."""
    found = record("mlp_cancer", "lbfgs", 200.0, **settings)
    for name in ("FIRST", "SKIPPED", "EQUAL"):  # every stretch is watched
        monkeypatch.setattr(f"optbench.core.own_work.{name}", 10**9)
    exact = record("mlp_cancer", "lbfgs", 200.0, **settings)
    assert found.own_flops == pytest.approx(exact.own_flops, rel=0.05)
    assert found.flops == exact.flops


def test_a_lane_is_charged_what_it_did_itself() -> None:
    """Of lanes that work one after another: one holds twenty pairs of L-BFGS and one a single pair."""
    hypers = [(("history_size", 20), ("line_search_fn", None)), (("history_size", 1), ("line_search_fn", None))]
    trials = [Trial("mlp_digits", "lbfgs", hyper, 0, 60.0) for hyper in hypers]
    together = run_group(trials, CATALOG)
    alone = [run_group([trial], CATALOG)[0] for trial in trials]
    assert [one.own_flops for one in together] == pytest.approx([one.own_flops for one in alone], rel=0.01)
    assert [one.state_bytes for one in together] == pytest.approx([one.state_bytes for one in alone], rel=0.1)
    assert together[0].own_flops > 3 * together[1].own_flops  # type: ignore[operator]
    for one in together:
        assert one.curve[-1]["own_flops"] == pytest.approx(one.own_flops, rel=0.2)


def test_work_of_one_lane_ends_where_its_oracle_begins() -> None:
    own = OwnWork(2, quiet)
    with own.counting():
        for _ in range(3):
            with own:
                torch.ones(1000) + 1
            with own.of_lane(1):
                torch.ones(10) + 1
                with own:  # it draws its minibatch
                    torch.ones(1000) + 1
                torch.ones(10) + 1
            torch.ones(100) + 1  # of whoever switches between lanes
    assert own.flops == [0, 60]
    own.charge(6.0)
    own.charge(1.0, 0)
    assert own.flops == [4, 63]


def test_nothing_is_given_back() -> None:
    with pytest.raises(ValueError, match="nothing is given back"):
        OwnWork(1, quiet).charge(-1.0)


def test_steps_that_always_do_the_same_are_watched_less_and_charged_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change among them is noticed, and then they are watched again."""
    looked: list[int] = []
    at = [0]

    class Counted(Watch):
        def __enter__(self) -> Watch:
            looked.append(at[0])
            return super().__enter__()

    monkeypatch.setattr("optbench.core.own_work.Watch", Counted)

    def work(changes_at: int) -> float:
        looked.clear()
        own = OwnWork(1, quiet)
        with own.counting():
            for at[0] in range(180):
                numbers = (100 if at[0] % 2 else 10) * (5 if at[0] >= changes_at else 1)
                torch.ones(numbers) + 1
                with own:
                    pass
        return own.flops[0]

    assert work(1000) == 90 * 100 + 90 * 10
    assert len(looked) < 80
    assert work(90) == pytest.approx(45 * 110 + 5 * 45 * 110, rel=0.05)
    assert 90 < len(looked) < 150
