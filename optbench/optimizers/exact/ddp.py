"""Differential dynamic programming on multilayer perceptrons, in Gauss-Newton form (Jacobson & Mayne 1970).

As an optimizer of networks: DDPNOpt (Liu, Chen & Theodorou 2021, arXiv:2002.08809). Unlike there the curvature is not
approximated layer by layer: the value function's Hessian is carried through the whole network in low rank, so a step
without feedback would be Levenberg and Marquardt's. `ddp_sweep` holds the two recursions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers.checks import check, check_count, check_positive
from optbench.optimizers.exact.chain import Chain, read
from optbench.optimizers.exact.ddp_sweep import controls, forward, gains, rollout, terminal_factor, terminal_gradient

MIN_DAMPING, MAX_DAMPING = 1e-12, 1e12  # at the largest no step of any length lowers the loss any more


@dataclass(frozen=True)
class DDP:
    """Sweeps of a backward recursion (a feedback policy a layer) and a rollout under that policy.

    A rollout is kept if it lowers the loss. The damping shrinks where the loss fell about as much as the quadratic
    model predicted, and grows where it did not (the ratio test of Levenberg-Marquardt methods, Nielsen 1999).
    A sweep costs O(N n_in n_out r + p r^2 + r^3) a layer of p weights, r = samples x outputs.

    Charged a sweep: r + 1 backward passes for the recursion (the gradient, and each of the r columns of the curvature's
    factor, costs a backward pass), one forward pass for the rollout and one to evaluate the point. Own work is what a
    sweep computes beyond that: the r x r products and their factorisations. Returns when no damping helps.
    """

    damping: float = 1e-2  # lam at the start, added to the curvature in every weight
    step: float = 1.0  # a: share of the open-loop step k that a rollout takes
    columns: int = 2000  # r at most
    cap: float = 4.0  # memory for the feedback policies, in GiB

    needs: ClassVar[str] = "exact"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True
    checked_on: ClassVar[tuple[str, ...]] = ("sine_grid_k3_l3",)

    def __post_init__(self) -> None:
        check_positive("damping", self.damping)
        check_positive("step", self.step)
        check(self.step <= 1, "step", self.step, "a share of the full step, above 0 and at most 1")
        check_count("columns", self.columns, 1)
        check_positive("cap", self.cap)

    def minimise(self, f: Objective) -> None:
        structure = f.structure()
        chain = read(structure, ("mse", "bce", "cross-entropy"), ("identity", "relu", "sigmoid", "tanh"))
        columns = self._check(chain)
        # In float64 whatever the network's own precision: the recursion loses half of its digits to squaring.
        targets = chain.targets.double() if chain.targets.is_floating_point() else chain.targets
        chain = replace(chain, inputs=chain.inputs.double(), targets=targets)
        x = f.start()[0].double()  # (D,)
        loss = float(f.value(x[None, None].to(f.dtype)))
        lam, growth = self.damping, 2.0
        while lam < MAX_DAMPING:
            f.charge(forward=len(chain.inputs), backward=len(chain.inputs) * (columns + 1))
            new, predicted = self._sweep(chain, x, lam)
            found = float(f.value(new[None, None].to(f.dtype))) if predicted > 0 else loss
            if found < loss:
                ratio = (loss - found) / predicted
                x, loss = new.to(f.dtype).double(), found
                lam, growth = max(MIN_DAMPING, lam * max(1 / 3, 1 - (2 * ratio - 1) ** 3)), 2.0
            else:
                lam, growth = lam * growth, 2 * growth

    def _sweep(self, chain: Chain, x: Tensor, lam: float) -> tuple[Tensor, float]:
        """The point (D,) that a backward recursion and a rollout lead to, and the decrease that is predicted for it."""
        us = controls(chain, x)
        stages, z = forward(chain, us)
        policy, predicted = gains(stages, terminal_gradient(chain, z), terminal_factor(chain, z), lam)
        if not policy:  # too little damping for the rounding: as a step that failed
            return x, 0.0
        return torch.cat(rollout(chain, stages, us, policy, self.step)), predicted

    def _check(self, chain: Chain) -> int:
        """r, the columns of the curvature's factor. Raises Inapplicable where they are too many."""
        samples, outputs = len(chain.inputs), chain.layers[-1].outputs
        columns = samples * outputs
        if columns > self.columns:
            raise Inapplicable(
                f"{samples} samples x {outputs} outputs = {columns} columns, columns={self.columns}: "
                "use fewer samples, raise columns, or take lbfgs"
            )
        numbers = sum(columns * (layer.parameters + 2 * samples * layer.inputs + columns) for layer in chain.layers)
        if 8 * numbers / 2**30 > self.cap:
            raise Inapplicable(
                f"feedback policies of {8 * numbers / 2**30:.3g} GiB, cap={self.cap:g}: use fewer samples or raise cap"
            )
        return columns
