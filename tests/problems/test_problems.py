"""Every problem of the table: it is what the table says, loads offline, repeats bit for bit, and batches."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, stack_module_state, vmap

from optbench.core.problem import ORACLES, TRACKS, Problem, fresh, split
from optbench.problems import PROBLEMS, shared
from optbench.problems.mlp_regression import concrete_table


def build(name: str) -> Problem:
    """The problem of a table entry."""
    entry = PROBLEMS[name]
    module, attribute = entry.path.split(":")
    return getattr(importlib.import_module(module), attribute)(**entry.settings)


CARRIED = [name for name, entry in PROBLEMS.items() if not entry.needs]  # the rest waits for what its user brings
every = pytest.mark.parametrize("name", CARRIED)


@every
def test_the_table_agrees_with_the_class(name: str) -> None:
    problem, entry = build(name), PROBLEMS[name]
    assert problem.track == entry.track and problem.track in TRACKS
    assert problem.gives <= set(ORACLES) and "value" in problem.gives
    assert 10 <= len(entry.summary) <= 100 and "\n" not in entry.summary
    assert type(problem).__doc__ and problem.loss_name and problem.passes > 0
    assert hash(problem) == hash(build(name)) and problem == build(name)


@every
def test_stated_start_is_the_median_of_fresh_networks(name: str) -> None:
    problem = build(name)
    train = problem.data().train
    with torch.no_grad():
        losses = [problem.loss(fresh(problem, seed)[0].eval(), train).item() for seed in range(9)]
    assert problem.start == pytest.approx(sorted(losses)[4], rel=0.02)
    assert problem.best.value < problem.start
    assert problem.best.source in ("optimum", "bound", "best known")


@every
def test_splits_are_disjoint(name: str) -> None:
    """No sample of one split is in another. A line's single feature and a play's headings repeat by nature: there the
    sizes, and the order of the text, say that no row is used twice."""
    problem = build(name)
    splits = [part for part in problem.data() if part is not None]
    sizes = [len(part[0]) for part in splits]
    assert min(sizes) > 0 and all(len(tensor) == n for part, n in zip(splits, sizes, strict=True) for tensor in part)
    if name.startswith("line_"):
        assert sum(sizes) == 442
        return
    if name.endswith("_shakespeare"):
        text = shared.read("asyoulik.txt").decode()
        codes = torch.as_tensor(np.unique(list(text), return_inverse=True)[1])
        starts = [0, int(len(text) * 0.4), int(len(text) * 0.4) + int(len(text) * 0.05)]
        for start, end, (inputs, following) in zip(starts, [*starts[1:], len(text)], splits, strict=True):
            assert start + inputs.numel() < end
            assert torch.equal(inputs.flatten(), codes[start : start + inputs.numel()])
            assert torch.equal(following.flatten(), codes[start + 1 : start + 1 + inputs.numel()])
        return
    seen: set[bytes] = set()
    for part in splits:
        rows = {b"".join(t[i].numpy().tobytes() for t in part) for i in range(len(part[0]))}
        assert not rows & seen
        seen |= rows


def test_split_covers_everything_once() -> None:
    parts = split(101, seed=3)
    assert sorted(torch.cat(parts).tolist()) == list(range(101))
    assert [len(part) for part in parts] == [71, 15, 15]


def digest(name: str) -> str:
    """A checksum of a problem's data and of its first fresh network."""
    problem = build(name)
    tensors = [t for part in problem.data() if part is not None for t in part]
    tensors += list(fresh(problem, 0)[0].state_dict().values())
    whole = hashlib.sha256()
    for tensor in tensors:
        whole.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    return whole.hexdigest()


OFFLINE = """
import socket, sys, json
def blocked(*args, **kwargs): raise OSError("the network is blocked")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = blocked
sys.path.insert(0, sys.argv[1])
import test_problems
print(json.dumps({name: test_problems.digest(name) for name in test_problems.CARRIED}))
"""


def test_every_problem_loads_offline_and_is_bit_equal_from_run_to_run(request: pytest.FixtureRequest) -> None:
    folder = str(request.path.parent)
    run = subprocess.run([sys.executable, "-c", OFFLINE, folder], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout.splitlines()[-1]) == {name: digest(name) for name in CARRIED}


def test_the_table_imports_neither_torch_nor_the_problems() -> None:
    code = (
        "import sys, optbench.problems; heavy = {'torch', 'numpy', 'sklearn', 'scipy'} & set(sys.modules); "
        "print(heavy, [m for m in sys.modules if m.startswith('optbench.problems.')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set() []"


@pytest.mark.parametrize(
    "name", [n for n in CARRIED if n.startswith(("line_", "logistic_", "mlp_")) and n != "mlp_digits"]
)
def test_featurised_on_train_alone(name: str) -> None:
    """Standardised tables have mean 0 and deviation 1 on train, and so not exactly on the rest."""
    splits = build(name).data()
    assert splits.test is not None
    x = splits.train[0].flatten(1).double()
    deviation = x.std(0, correction=0)
    assert x.mean(0).abs().max() < 1e-4
    assert torch.isclose(deviation, torch.ones(1).double(), atol=1e-4).logical_or(deviation == 0).all()
    assert splits.test[0].flatten(1).mean(0).abs().max() > 1e-3


def test_no_mix_of_concrete_is_in_two_splits() -> None:
    """Not at another age either, nor as the table lists some mixes again, rounded to whole kg/m3."""
    parts = [part[0].double().numpy()[:, :7] for part in build("mlp_concrete").data() if part is not None]
    ingredients = concrete_table()[:, :7]
    assert sum(map(len, parts)) == len(ingredients) == 1005
    unit = np.ptp(ingredients, axis=0) / np.ptp(np.concatenate(parts), axis=0)  # kg/m3 in one standard deviation
    for one, other in combinations(parts, 2):
        apart = np.abs((one[:, None] - other[None]) * unit).max(-1)  # kg/m3 by which the recipes differ
        assert apart.min() > 1.0


def test_groups_are_split_whole_and_reproducibly() -> None:
    group = np.repeat(np.arange(40), np.arange(40) % 4 + 1)[::-1].copy()
    parts = shared.split_by_group(group, seed=3)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(group)))
    members = [set(group[part]) for part in parts]
    assert [len(kinds) for kinds in members] == [28, 6, 6]
    assert not any(one & other for one, other in combinations(members, 2))
    again = shared.split_by_group(group, seed=3)
    assert all(torch.equal(one, other) for one, other in zip(parts, again, strict=True))


@every
def test_lanes_equal_networks_one_by_one(name: str) -> None:
    """vmap over stacked parameters gives each network's own loss and gradient."""
    problem = build(name)
    if not problem.vmaps:
        pytest.skip("declares that it does not vmap")
    nets = [net.eval() for net in fresh(problem, 5, count=2)]
    batch = tuple(t[:7] for t in problem.data().train)
    parameters, buffers = stack_module_state(nets)

    def loss(values: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor]) -> torch.Tensor:
        return problem.loss(lambda *inputs: functional_call(nets[0], (values, buffers), inputs), batch)

    values = vmap(loss)(parameters, buffers)
    gradients = vmap(grad(loss))(parameters, buffers)
    for lane, net in enumerate(nets):
        own = problem.loss(net, batch)
        own.backward()
        assert torch.isclose(values[lane], own, rtol=1e-5, atol=1e-6)
        for key, parameter in net.named_parameters():
            assert parameter.grad is not None
            scale = parameter.grad.abs().max().item()
            assert torch.allclose(gradients[key][lane], parameter.grad, rtol=1e-3, atol=1e-5 * scale + 1e-12), key


@every
def test_metrics_are_finite_scalars(name: str) -> None:
    problem = build(name)
    net = fresh(problem, 0)[0].eval()
    for part in problem.data():
        if part is not None:
            found = problem.metrics(net, part)
            assert not {"loss"} & set(found)
            assert all(value.ndim == 0 and bool(torch.isfinite(value)) for value in found.values())


def test_a_changed_data_file_is_refused_by_name(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "concrete.csv").write_bytes(shared.read("concrete.csv") + b"\n")
    monkeypatch.setattr(shared.resources, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=r"data file concrete\.csv: sha256 .* expected c2690f237285ede1"):
        shared.read("concrete.csv")


def test_a_pickled_array_is_never_loaded(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data" / "evil.npz"
    path.parent.mkdir()
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    monkeypatch.setitem(shared.FILES, "evil.npz", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(shared.resources, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match="allow_pickle"):
        shared.arrays("evil.npz")
