"""One's own model and data as a problem: every form that they come in, and what is said where they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

import optbench
from optbench.core.found_out import vmaps
from optbench.core.problem import dimension, fresh
from optbench.core.trial import RequestError
from optbench.own.problem import OwnProblem

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
NET = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def loss_of(problem: OwnProblem, seed: int = 0) -> float:
    return problem.loss(fresh(problem, seed)[0], problem.data().train).item()


class Samples(Dataset[Any]):
    """Pairs, one at a time."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        if not 0 <= place < len(X):
            raise IndexError(place)
        return X[place], int(Y[place])


@pytest.mark.parametrize(
    "train",
    [
        (X, Y),
        (X.numpy().astype(np.float64), Y.numpy()),
        TensorDataset(X, Y),
        DataLoader(TensorDataset(X, Y), batch_size=7),
        Samples(),
        pd.DataFrame(X.numpy()).assign(label=Y.numpy()),
        (pd.DataFrame(X.numpy()), pd.Series(Y.numpy())),
        [(x, int(y)) for x, y in zip(X, Y, strict=True)],
    ],
    ids=["tensors", "arrays", "tensor dataset", "loader", "dataset", "frame", "frames", "samples"],
)
def test_every_form_of_the_same_data_is_the_same_problem(train: Any) -> None:
    problem = optbench.problem(NET, "cross-entropy", train)
    reference = optbench.problem(NET, nn.CrossEntropyLoss(), (X, Y))
    assert loss_of(problem) == loss_of(reference)
    assert problem.track == "supervised" and problem.loss_name == "cross-entropy" and problem.title == "sequential"
    assert [len(part[0]) for part in problem.data() if part] == [42, 9, 9]
    seen = torch.cat([part[0] for part in problem.data() if part])
    assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, X.tolist()))  # each sample in one split


def test_every_seed_draws_a_network_of_its_own_and_the_same_again() -> None:
    problem = optbench.problem(NET, "cross-entropy", (X, Y))
    assert loss_of(problem, 0) == loss_of(problem, 0) != loss_of(problem, 1)
    given = optbench.problem(NET, "cross-entropy", (X, Y), start="given")
    assert (
        loss_of(given, 0)
        == loss_of(given, 1)
        == F.cross_entropy(NET(given.data().train[0]), given.data().train[1]).item()
    )


def test_regression_never_broadcasts_targets_over_outputs() -> None:
    y = X.sum(1)
    problem = optbench.problem(nn.Linear(4, 1), "mse", (X, y), (X, y), (X, y))
    net = fresh(problem, 0)[0]
    assert loss_of(problem) == pytest.approx((net(X)[:, 0] - y).square().mean().item())
    assert problem.metrics(lambda x: x.sum(1, keepdim=True), problem.data().train)["r2"] == pytest.approx(1.0)


class Named(nn.Module):
    """Takes its inputs by name, returns a mapping; embeddings tied with the output, a mask for padding, a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 6)
        self.out = nn.Linear(6, 12, bias=False)
        self.out.weight = self.embed.weight
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        hidden = (self.embed(tokens) * mask[..., None]).cumsum(1) * self.scale
        return {"logits": self.out(hidden), "hidden": hidden}


def test_named_inputs_masks_tied_weights_and_mappings() -> None:
    tokens = torch.randint(0, 12, (40, 5), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(40, 5)
    mask[:, 4] = 0
    labels = tokens.roll(-1, 1)
    labels[:, 4] = -100  # padding is not counted
    problem = optbench.problem(Named, "cross-entropy", {"tokens": tokens, "mask": mask, "labels": labels})
    assert dimension(problem) == 72  # tied: once
    assert vmaps(problem) and problem.names == ("tokens", "mask")
    net = fresh(problem, 0)[0]
    x, m, y = problem.data().train
    expected = F.cross_entropy(net(x, m)["logits"][:, :4].flatten(0, 1), y[:, :4].flatten())
    assert loss_of(problem) == pytest.approx(expected.item())

    def masked(outputs: dict[str, Tensor], target: Tensor, inputs: tuple[Tensor, ...]) -> Tensor:
        each = F.cross_entropy(outputs["logits"].transpose(1, 2), target.clamp(min=0), reduction="none")
        return (each * inputs[1]).sum() / inputs[1].sum()

    own = optbench.problem(Named, masked, {"tokens": tokens, "mask": mask, "labels": labels})
    assert loss_of(own) == pytest.approx(expected.item())


def test_one_tensor_is_an_unsupervised_problem() -> None:
    problem = optbench.problem(nn.Linear(4, 4), "mse", X, X, X)
    assert problem.track == "unsupervised" and loss_of(problem) > 0


def test_frozen_parameters_are_no_dimension() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    net[0].requires_grad_(False)
    assert dimension(optbench.problem(net, "cross-entropy", (X, Y))) == 8


def test_text_targets_become_classes() -> None:
    table = pd.DataFrame(X.numpy()).assign(kind=np.where(Y.numpy() > 0, "up", "down"))
    problem = optbench.problem(NET, "cross-entropy", table, target="kind")
    assert loss_of(problem) == pytest.approx(loss_of(optbench.problem(NET, "cross-entropy", (X, Y))))


def test_stored_data_are_mapped_from_files_and_the_same(tmp_path: Path) -> None:
    problem = optbench.problem(NET, "cross-entropy", (X, Y))
    stored = problem.store(tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 6 and not stored.splits.train
    for part, other in zip(problem.data(), stored.data(), strict=True):
        assert all(map(torch.equal, part or (), other or ()))
    assert stored.checksum() == problem.checksum()


class Holder(nn.Module):
    """A parameter that nothing resets."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


BROKEN = X.clone()
BROKEN[7, 2] = float("nan")
FRAME = pd.DataFrame(X.numpy(), columns=["a", "b", "c", "d"]).assign(price=Y.numpy())
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "shapes": (lambda: optbench.problem(nn.Linear(5, 2), "cross-entropy", (X, Y)), r"inputs \(N, 4\) float32, target"),
    "labels": (lambda: optbench.problem(NET, "cross-entropy", (X, Y + 1)), "label 2, the model has 2 outputs"),
    "nan": (lambda: optbench.problem(NET, "cross-entropy", (BROKEN, Y)), "NaN or infinite at row 7, column 2"),
    "empty": (lambda: optbench.problem(NET, "cross-entropy", (X, Y), (X[:0], Y[:0])), "valid is empty"),
    "column": (lambda: optbench.problem(NET, "mse", FRAME, target="prise"), "did you mean 'price'"),
    "metric": (
        lambda: optbench.problem(NET, "cross-entropy", (X, Y), metrics={"right": lambda o, t: o.argmax(1) == t}),
        "the metric 'right' gives shape .* it must be a scalar",
    ),
    "loss": (lambda: optbench.problem(NET, "crossentropi", (X, Y)), "unknown loss"),
    "loss shape": (lambda: optbench.problem(NET, lambda o, t: o.sum(1), (X, Y)), "must be a scalar: take its mean"),
    "fractions": (lambda: optbench.problem(NET, "cross-entropy", (X, X[:, 0])), "class numbers"),
    "lengths": (lambda: optbench.problem(NET, "cross-entropy", (X, Y[:-1])), r"have \[60, 59\] samples"),
    "text": (lambda: optbench.problem(NET, "mse", FRAME.assign(city="x"), target="price"), "get_dummies"),
    "reset": (lambda: optbench.problem(Holder(), "cross-entropy", (X, Y)), "start='given'"),
    "model": (lambda: optbench.problem(3, "mse", (X, Y)), "the model is a int"),
    "batch": (lambda: optbench.problem(NET, "cross-entropy", (X, Y), batch=0), "positive whole number"),
    "name": (lambda: optbench.problem(NET, "cross-entropy", (X, Y), name="a b"), "letters, digits"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_one_line_with_the_fix(case: str) -> None:
    call, told = WRONG[case]
    with pytest.raises(RequestError, match=told) as refused:
        call()
    assert "\n" not in str(refused.value)
