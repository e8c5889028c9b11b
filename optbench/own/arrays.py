"""From datasets, tensors, arrays and data frames to one split: inputs and, where there is one, a target.

Numbers of numpy and pandas become float32, for networks are; a torch tensor keeps its type. Text that is a target
becomes class numbers; text that is an input is refused with what helps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optbench.core.trial import RequestError

TARGETS = ("label", "labels", "target", "targets", "y")  # what a target is called where nobody says


@dataclass(frozen=True)
class Part:
    """One split. inputs: tensors that share axis 0; names: of inputs that the model takes by name, else empty."""

    inputs: tuple[Tensor, ...]
    target: Tensor | None
    names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()  # what the class numbers stand for, where the target was text

    @property
    def samples(self) -> int:
        return len(self.inputs[0])

    def rows(self, index: Tensor) -> Part:
        """Some of the samples."""
        return Part(
            tuple(tensor[index] for tensor in self.inputs),
            None if self.target is None else self.target[index],
            self.names,
            self.classes,
        )

    def batch(self) -> tuple[Tensor, ...]:
        return self.inputs if self.target is None else (*self.inputs, self.target)


def part(data: Any, target: str | None, where: str) -> Part:
    """One split from what was given. target: the column or key of the target. Raises RequestError.

    data: a torch Dataset or DataLoader; a tensor, array or data frame; (inputs, target), or several inputs before the
    target; a mapping of names to them, whose inputs the model takes by name.
    """
    data = getattr(data, "dataset", data) if type(data).__name__ == "DataLoader" else data
    if _is_frame(data):
        return _frame(data, target, where)
    if isinstance(data, Mapping):
        return _named(data, target, where)
    if isinstance(data, Tensor | np.ndarray):
        return _checked(Part((_tensor(data, where),), None), where)
    if isinstance(data, tuple | list) and data and not _is_samples(data):
        return _in_order(data, target, where)
    if hasattr(data, "tensors") and all(isinstance(one, Tensor) for one in data.tensors):  # a TensorDataset
        return _in_order(tuple(data.tensors), target, where)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return _dataset(data, target, where)
    if hasattr(data, "__iter__"):
        return _dataset(list(data), target, where)
    raise RequestError(
        f"{where} is a {type(data).__name__}; give a torch Dataset, a pair of tensors or arrays, or a DataFrame"
    )


def _is_frame(data: Any) -> bool:
    return type(data).__module__.startswith("pandas") and hasattr(data, "columns")


def _is_samples(data: Sequence[Any]) -> bool:
    """A list of samples, each a tuple or mapping, and no tuple of columns."""
    return isinstance(data, list) and all(isinstance(one, tuple | list | Mapping) for one in data)


def _in_order(data: Sequence[Any], target: str | None, where: str) -> Part:
    if target is not None:
        raise RequestError(f"{where} has no columns, so target={target!r} names none; the last of the tensors is it")
    if len(data) == 1:
        return part(data[0], None, where)
    if all(_is_frame(one) for one in data[:-1]):
        inputs = [_matrix(one, f"{where} inputs") for one in data[:-1]]
    else:
        inputs = [_tensor(one, f"{where} input {k}") for k, one in enumerate(data[:-1], 1)]
    goal, classes = _target(data[-1], f"{where} target")
    return _checked(Part(tuple(inputs), goal, (), classes), where)


def _named(data: Mapping[str, Any], target: str | None, where: str) -> Part:
    name = target or next((name for name in TARGETS if name in data), None)
    if target is not None and target not in data:
        raise RequestError(_no_column(target, list(data), where))
    names = tuple(str(key) for key in data if key != name)
    if not names:
        raise RequestError(f"{where} holds {name!r} and no inputs")
    goal, classes = (None, ()) if name is None else _target(data[name], f"{where} {name}")
    return _checked(Part(tuple(_tensor(data[key], f"{where} {key}") for key in names), goal, names, classes), where)


def _frame(frame: Any, target: str | None, where: str) -> Part:
    if target is None:
        found = [name for name in TARGETS if name in frame.columns]
        if len(found) != 1:
            raise RequestError(f"{where} is a table of {len(frame.columns)} columns; say which is the target=...")
        target = found[0]
    if target not in frame.columns:
        raise RequestError(_no_column(target, [str(name) for name in frame.columns], where))
    goal, classes = _target(frame[target], f"{where} column {target!r}")
    return _checked(Part((_matrix(frame.drop(columns=target), where),), goal, (), classes), where)


def _no_column(name: str, known: list[str], where: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known[:8])}{' ...' * (len(known) > 8)}"
    return f"{where} has no column {name!r}, {hint}"


def _matrix(frame: Any, where: str) -> Tensor:
    """(N, columns) float32. Raises RequestError for text, and for cells that hold nothing."""
    import pandas as pd

    for name in frame.columns:
        if not (pd.api.types.is_numeric_dtype(frame[name]) or pd.api.types.is_bool_dtype(frame[name])):
            raise RequestError(
                f"{where}: column {str(name)!r} holds {frame[name].dtype}, no numbers; pandas.get_dummies makes "
                "columns of numbers of it, or drop it"
            )
    if not len(frame.columns):
        raise RequestError(f"{where}: there is no column beside the target")
    return torch.from_numpy(np.array(frame.to_numpy(dtype=np.float32, na_value=np.nan), order="C"))


def _target(values: Any, where: str) -> tuple[Tensor, tuple[str, ...]]:
    """The target, and what its class numbers stand for where it was text."""
    if isinstance(values, Tensor):
        return values, ()
    array = np.asarray(values)
    if array.dtype.kind in "OUS":
        if any(one is None or one != one for one in array.ravel().tolist()):
            raise RequestError(f"{where}: a value is missing; drop the row or fill it in")
        names, numbers = np.unique(array.astype(str), return_inverse=True)
        return torch.from_numpy(numbers.astype(np.int64)), tuple(names.tolist())
    return _tensor(array, where), ()


def _tensor(values: Any, where: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    if _is_frame(values):
        return _matrix(values, where)
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{where}: {' '.join(str(error).split())}") from None
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    elif array.dtype.kind == "b":
        array = array.astype(np.float32)
    elif array.dtype.kind in "iu":
        array = array.astype(np.int64, copy=False) if array.dtype != np.uint8 else array.astype(np.float32) / 255
    else:
        raise RequestError(f"{where} holds {array.dtype}, no numbers")
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())  # torch warns of what it could write to


def _dataset(data: Any, target: str | None, where: str) -> Part:
    """Every sample of a map-style dataset, stacked."""
    if not len(data):
        raise RequestError(f"{where} is empty")
    samples = [data[k] for k in range(len(data))]
    first = samples[0]
    try:
        if isinstance(first, Mapping):
            return _named({key: _stack([one[key] for one in samples]) for key in first}, target, where)
        if isinstance(first, tuple | list):
            columns = zip(*samples, strict=True)
            return _in_order(tuple(_stack(list(column)) for column in columns), target, where)
        return _in_order((_stack(samples),), target, where)
    except (ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"{where}: its samples cannot be stacked ({' '.join(str(error).split())[:160]}); let the dataset return "
            "tensors of one shape and numbers"
        ) from None


def _stack(values: list[Any]) -> Any:
    if isinstance(values[0], Tensor):
        return torch.stack(values)
    if type(values[0]).__module__.startswith("PIL"):
        pictures = np.stack([np.asarray(one) for one in values])
        return pictures[:, None] if pictures.ndim == 3 else pictures.transpose(0, 3, 1, 2)
    return np.stack([np.asarray(one) for one in values])


def _checked(found: Part, where: str) -> Part:
    """The part, its tensors of one length, not empty and finite. Raises RequestError."""
    tensors = found.batch()
    if any(tensor.ndim == 0 for tensor in tensors):
        raise RequestError(f"{where}: a number is no column of samples")
    if len({len(tensor) for tensor in tensors}) != 1:
        raise RequestError(f"{where}: inputs and target have {[len(tensor) for tensor in tensors]} samples")
    if not len(tensors[0]):
        raise RequestError(f"{where} is empty: it has no sample")
    for tensor in tensors:
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            place = (~tensor.isfinite()).nonzero()[0].tolist()
            what = "the target" if tensor is found.target else "an input"
            at = f"row {place[0]}" + (f", column {place[1]}" if len(place) == 2 else "")
            raise RequestError(f"{where}: {what} is NaN or infinite at {at}; drop such rows or fill them in")
    return found
