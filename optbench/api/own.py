"""What is your own: `problem`, a loop that you `track`, and `check`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.execution.tracking import Tracked
    from optbench.own.problem import OwnProblem
    from optbench.testing.conformance import Finding


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
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    name: str | None = None,
    start: str = "fresh",
) -> OwnProblem:
    """Your model and your data as a problem, which `compare` and `run` take.

    model: an nn.Module, its class, or a function that builds one. It may return a tensor, a mapping or several outputs.
    loss: "cross-entropy", "mse", "l1", "bce" (from logits), "output" (the model returns it), a torch loss module, or a
        function (outputs, target) -> scalar; one with a third argument is given the inputs too, for masks.
    train, valid, test: a torch Dataset, tensors, arrays or a DataFrame; (inputs, target); several inputs before the
        target; or a mapping whose inputs the model takes by name. Without valid and test, train is divided 70/15/15;
        without valid alone, 15 % of it are held out. False: none.
    target: the column of the target in a table or mapping.
    batch: samples of a minibatch; left out, all of up to 512 training samples, else 128. passes: the default budget.
    metrics: {name: (outputs, target) -> scalar}; left out, accuracy or R2 where the loss tells which.
    name: what tables call it. start: "fresh" draws new weights for every seed, "given" keeps those of the module.

    Raises optbench.core.trial.RequestError, in one line, where model, data and loss do not fit.
    """
    from optbench.own.problem import problem as made

    return made(
        model,
        loss,
        train,
        valid,
        test,
        target=target,
        batch=batch,
        passes=passes,
        metrics=metrics,
        name=name,
        start=start,
    )


def track(
    out: str | Path,
    problem: str,
    optimizer: str,
    *,
    seed: int = 0,
    samples: int,
    passes: float,
    device: str = "cpu",
) -> Tracked:
    """A training loop of your own as a trial of a result folder, for those who cannot hand over their loop.

        with optbench.track("results/mine", "my_task", "adam[lr=0.01]", seed=0, samples=len(train), passes=300) as t:
            while not t.done:
                ...  # a gradient step
                t.step(len(batch))  # counts its samples, forward and backward
                t.point(loss=..., valid_loss=...)  # where you score, off the clock

    optimizer: what is compared, with its settings. samples: in the training set. passes: the budget; a gradient step
    counts as three forward passes over its samples, for nobody can see what a foreign loop computes. The record is
    marked as self-reported. The same trial again replaces it. Raises optbench.core.trial.RequestError.
    """
    from optbench.execution.tracking import Tracked

    return Tracked(out, problem, optimizer, seed, samples, passes, device)


def check(target: str, plugins: Sequence[str | Path] = ()) -> list[Finding]:
    """Check an optimizer or problem for conformance, in a process that can be stopped: a finding a check.

    target: a name, an import path or a plugin file. plugins: files that the target needs.
    Raises optbench.core.trial.RequestError for a name that is neither.
    """
    from optbench.testing import conformance

    found: Any = conformance.check(target, [str(file) for file in plugins])
    return list(found)
