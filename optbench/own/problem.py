"""One's own model and data as a problem; `optbench.problem` makes one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from optbench.core.dividing import dividing, number
from optbench.core.problem import Batch, Net, Problem, Splits, split
from optbench.core.trial import RequestError
from optbench.own.arrays import Part, part
from optbench.own.criterion import Criterion, criterion, scalar, takes_inputs
from optbench.own.network import factory

FULL_BATCH_SAMPLES, USUAL_BATCH = 512, 128  # up to so many training samples: all at once; above: this minibatch
SHARES = (0.7, 0.15, 0.15)  # of train, valid and test, where one table is all that was given
UNSEEN = "unseen"  # in the metadata of a field that is no part of a fingerprint
MAX_CHECKED = 16  # samples that the model is tried on


@dataclass(frozen=True, eq=False)
class OwnProblem(Problem):
    """Somebody's own model on their own data. Made by `problem`; equal to itself alone."""

    make: Callable[[], nn.Module]
    criterion: Criterion
    splits: Splits
    title: str
    names: tuple[str, ...] = ()  # of inputs that the model takes by name
    has_target: bool = True
    with_inputs: bool = False  # the loss takes them too
    measured: Mapping[str, Criterion] = field(default_factory=dict)  # metrics
    loss_name: str = "own"  # told by `problem`
    batch: int | None = None  # type: ignore[misc]  # a setting here
    passes: float = 50.0  # type: ignore[misc]
    gives: frozenset[str] = frozenset({"value", "grad"})  # type: ignore[misc]
    stored: tuple[tuple[str, ...] | None, ...] = ()  # files of the splits, where they were written down
    # How chance divided the data, in shares, and whether the inputs are standardised on train. The data tell it to a
    # fingerprint.
    shares: tuple[float, ...] = field(default=(), metadata={UNSEEN: True})
    standardised: bool = field(default=False, metadata={UNSEEN: True})

    @property
    def origin(self) -> str:
        """module:name of what the network is made of."""
        made: Any = self.make
        while hasattr(made, "made_of"):
            made = made.made_of
        kind = type(made) if isinstance(made, nn.Module) else made
        return f"{getattr(kind, '__module__', '__main__')}:{getattr(kind, '__qualname__', type(made).__name__)}"

    def network(self) -> nn.Module:
        return self.make()

    def data(self) -> Splits:
        found = self.splits
        if self.stored:
            found = Splits(
                *(None if files is None else tuple(_mapped(file) for file in files) for files in self.stored)  # type: ignore[arg-type]
            )
        return divided_again(found, self.shares, self.standardised) if self.shares and number() else found

    def loss(self, net: Net, batch: Batch) -> Tensor:
        inputs, target = (batch[:-1], batch[-1]) if self.has_target else (batch, None)
        return self._of(self.criterion, "the loss", self._outputs(net, inputs, target), inputs, target)

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        if not self.measured:
            return {}
        inputs, target = (batch[:-1], batch[-1]) if self.has_target else (batch, None)
        outputs = self._outputs(net, inputs, target)
        return {
            name: self._of(one, f"the metric {name!r}", outputs, inputs, target) for name, one in self.measured.items()
        }

    def _outputs(self, net: Net, inputs: Batch, target: Tensor | None) -> Any:
        if not self.names:
            return net(*inputs)
        named = dict(zip(self.names, inputs, strict=True))
        if self.loss_name == "output" and target is not None:
            return net(**named, labels=target)
        return net(**named)

    def _of(self, what: Criterion, name: str, outputs: Any, inputs: Batch, target: Tensor | None) -> Tensor:
        if self.with_inputs and what is self.criterion:
            return scalar(what(outputs, target, inputs[0] if len(inputs) == 1 else inputs), name)
        goal = inputs[0] if target is None and self.loss_name != "output" else target
        return scalar(what(outputs, goal), name)

    def store(self, folder: Path) -> OwnProblem:
        """The same problem with its data in files that worker processes map into memory and share."""
        stored: list[tuple[str, ...] | None] = []
        for name, batch in self.data()._asdict().items():
            if batch is None:
                stored.append(None)
                continue
            files = []
            for k, tensor in enumerate(batch):
                path = folder / f"{self.title}-{name}-{k}.npy"
                np.save(path, tensor.contiguous().numpy(), allow_pickle=False)
                files.append(str(path))
            stored.append(tuple(files))
        return replace(self, splits=Splits(()), stored=tuple(stored))

    def checksum(self) -> str:
        """What changes when the data do, or the weights that every seed starts from."""
        import hashlib

        digest = hashlib.sha256()
        if getattr(self.make, "anew", True) is False:
            for tensor in self.make().state_dict().values():
                digest.update(np.ascontiguousarray(tensor.numpy()).data)
        for batch in self.data():
            for tensor in batch or ():
                digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(np.ascontiguousarray(tensor.numpy()).data)
        return digest.hexdigest()


def divided_again(found: Splits, shares: tuple[float, ...], standardised: bool) -> Splits:
    """Data that chance divided in these shares, divided as it is asked for now; other splits stay.

    standardised: the first input is, on the training data of each division.
    """
    parts = [batch for batch in found if batch is not None][: len(shares)]
    samples = sum(len(batch[0]) for batch in parts)
    with dividing(0):
        order = torch.cat(split(samples, shares)).argsort()
    whole = [torch.cat(tensors)[order] for tensors in zip(*parts, strict=True)]
    indices = split(samples, shares)
    if standardised:
        whole[0] = standardise(whole[0], indices[0])
    again: list[Batch | None] = [tuple(tensor[index] for tensor in whole) for index in indices]
    return Splits(*again, *found[len(shares) :])  # type: ignore[arg-type]


def standardise(x: Tensor, train: Tensor) -> Tensor:
    """Columns of x (N, F) at mean 0 and standard deviation 1 over the rows `train`; a constant column becomes 0."""
    deviation, mean = torch.std_mean(x[train], 0, correction=0)
    return (x - mean) / torch.where(deviation > 0, deviation, torch.ones_like(deviation))


def _mapped(file: str) -> Tensor:
    """A tensor in a file: read as it is used, shared by all processes; what somebody writes into it is theirs alone."""
    array = np.load(file, mmap_mode="c", allow_pickle=False)
    return torch.from_numpy(array) if array.ndim else torch.from_numpy(np.array(array))


def problem(
    model: Any,
    loss: Any,
    train: Any,
    valid: Any = None,
    test: Any = None,
    *,
    target: str | None = None,
    batch: int | None = None,
    passes: float = 50.0,
    metrics: Mapping[str, Criterion] | None = None,
    name: str | None = None,
    start: str = "fresh",
) -> OwnProblem:
    """What `optbench.problem` makes, which says what the arguments are. Raises RequestError as it says."""
    make = factory(model, start)
    loss_name, function, usual = criterion(loss)
    title = _title(name, model)
    parts, shares = _parts(train, valid, test, target)
    first = parts[0]
    if first is None:
        raise RequestError("train is empty")
    if len({one.classes for one in parts if one is not None}) > 1:
        raise RequestError("train, valid and test hold different classes of text targets; encode them as numbers first")
    if loss_name == "cross-entropy":
        parts = [one and _labels(one) for one in parts]
    found = OwnProblem(
        make,
        function,
        Splits(*(one if one is None else one.batch() for one in parts)),  # type: ignore[arg-type]
        title,
        first.names,
        first.target is not None,
        loss_name not in ("cross-entropy", "mse", "l1", "bce", "output") and takes_inputs(function),
        dict(usual if metrics is None else metrics) if first.target is not None else dict(metrics or {}),
        loss_name,
        _batch(batch, first.samples),
        _positive(passes),
        shares=shares,
    )
    gives = _tried(found)
    return replace(found, gives=gives)


def _parts(train: Any, valid: Any, test: Any, target: str | None) -> tuple[list[Part | None], tuple[float, ...]]:
    """Train, valid and test, and the shares in which chance divided them; () where all were given."""
    whole = part(train, target, "train")
    given = [
        None if one is None or one is False else part(one, target, word)
        for one, word in ((valid, "valid"), (test, "test"))
    ]
    if valid is None and test is None:
        if whole.samples < 10:
            raise RequestError(f"train has {whole.samples} samples, too few to hold out valid and test; give them")
        return [whole.rows(index) for index in split(whole.samples, SHARES)], SHARES
    if valid is None:
        shares = 1 - SHARES[1], SHARES[1]
        kept, held = split(whole.samples, shares)
        return [whole.rows(kept), whole.rows(held), given[1]], shares
    return [whole, *given], ()


def _labels(one: Part) -> Part:
    """Whole numbers that came as floats, as csv files have them, become labels; shares of classes stay."""
    y = one.target
    if y is not None and y.is_floating_point() and y.ndim == 1:
        if not bool((y == y.round()).all()):
            raise RequestError(
                "cross-entropy needs class numbers, and the target holds fractions; loss='mse' fits them"
            )
        y = y.long()
    elif y is not None and not y.is_floating_point():
        y = y.long()
    return replace(one, target=y)


def _batch(batch: int | None, samples: int) -> int | None:
    if batch is None:
        return None if samples <= FULL_BATCH_SAMPLES else USUAL_BATCH
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise RequestError(f"batch={batch!r} must be a positive whole number of samples")
    return batch if batch < samples else None


def _positive(passes: float) -> float:
    if not (isinstance(passes, int | float) and passes > 0):
        raise RequestError(f"passes={passes!r} must be a positive number")
    return float(passes)


def _title(name: str | None, model: Any) -> str:
    if name is None:
        kind = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", "own")
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.strip("<>")).lower()
    if not re.fullmatch(r"[\w.-]+", name):
        raise RequestError(f"name={name!r} must be letters, digits, '_', '-' and '.'")
    return name


def _tried(own: OwnProblem) -> frozenset[str]:
    """The oracles that it answers, once model, data and loss were tried on a few samples. Raises RequestError."""
    train = own.splits.train
    some = tuple(tensor[:MAX_CHECKED] for tensor in train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            module = own.network().to(own.dtype)
        except RequestError:
            raise
        except Exception as error:
            raise RequestError(f"the model cannot be built: {_line(error)}") from None
        if next(module.parameters(), None) is None:
            raise RequestError("the model has no parameter that can be trained")
        _check_labels(own, module, some)
        try:
            loss = own.loss(module, some)
        except Exception as error:
            raise RequestError(f"model, data and loss do not fit: {_shapes(own, some)}; {_line(error)}") from None
        try:
            with torch.no_grad():
                own.metrics(module, some)
        except Exception as error:
            raise RequestError(_line(error).removeprefix("ValueError: ")) from None
    if not bool(loss.isfinite()):
        raise RequestError(
            f"the loss of a fresh network is {loss.item()}; scale the inputs, or look for a division by 0"
        )
    return frozenset({"value", "grad"} if loss.requires_grad else {"value"})


def _check_labels(own: OwnProblem, module: nn.Module, some: Batch) -> None:
    """Raises RequestError for labels that the network has no output for."""
    if own.loss_name != "cross-entropy" or not own.has_target or some[-1].is_floating_point():
        return
    from optbench.own.criterion import _scores

    try:
        with torch.no_grad():
            scores, _ = _scores(own._outputs(module, some[:-1], some[-1]), some[-1])
    except Exception:
        return  # what does not fit is said with the loss
    classes = scores.shape[1] if scores.ndim > 1 else 1
    for name, batch in own.splits._asdict().items():
        if batch is None:
            continue
        counted = batch[-1][batch[-1] != -100]
        wrong = (counted < 0) | (counted >= classes)
        if bool(wrong.any()):
            label = int(counted[wrong][0])
            raise RequestError(
                f"{name} holds the label {label}, the model has {classes} outputs, for labels 0 to {classes - 1}; "
                "number the classes from 0, or give the last layer more outputs"
            )


def _shapes(own: OwnProblem, some: Batch) -> str:
    names = own.names or tuple(f"input {k}" if k > 1 else "inputs" for k in range(1, len(some) + 1))
    inputs = some[:-1] if own.has_target else some
    text = [f"{name} {_kind(tensor)}" for name, tensor in zip(names, inputs, strict=False)]
    return ", ".join([*text, *([f"target {_kind(some[-1])}"] if own.has_target else [])])


def _kind(tensor: Tensor) -> str:
    return f"(N{''.join(f', {size}' for size in tensor.shape[1:])}) {str(tensor.dtype).removeprefix('torch.')}"


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
