"""A network as a controlled system, and the two recursions of differential dynamic programming through it.

State x_t (N, n_t): the activations of all N samples. Control u_t = (W_t, b_t). Dynamics x_{t+1} = f_t(x_t, u_t) =
sigma(x_t W_t^T + b_t). The value function V_t(x) is the least loss that the layers from t on can reach. Kept to first
order its recursion is backpropagation (`sgd_by_hand`), kept to second order it is DDP: Jacobson &
Mayne 1970; Liu, Chen & Theodorou 2021, arXiv:2002.08809. Letters: r columns of the curvature's factor, p_t parameters
of layer t, a the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from optbench.optimizers.exact.chain import Chain


@dataclass(frozen=True)
class Stage:
    """One layer at one point: x_{t+1} = sigma(x W^T + b)."""

    x: Tensor  # (N, n_in)
    weight: Tensor  # (n_out, n_in)
    bias: Tensor | None  # (n_out,)
    slope: Tensor  # (N, n_out), sigma'(z)

    def pull(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Any number r of adjoint vectors v (r, N, n_out) -> f_x^T v (r, N, n_in) and f_u^T v (r, p)."""
        v = v * self.slope
        weight = (v.transpose(1, 2) @ self.x).flatten(1)  # (r, n_out n_in)
        control = weight if self.bias is None else torch.cat([weight, v.sum(1)], 1)
        return v @ self.weight, control


@dataclass(frozen=True)
class Gain:
    """The feedback policy of a layer: u + a k + K (x^ - x), with K kept as the factors that it is made of."""

    k: Tensor  # (p,)
    q_u: Tensor  # (r, p)
    q_x: Tensor  # (r, N, n_in)
    factor: Tensor  # (r, r) lower Cholesky factor of I + q_u q_u^T / lam
    lam: float

    def feedback(self, dx: Tensor) -> Tensor:
        """K dx, (p,), for a change dx (N, n_in) of the state."""
        moved = self.q_x.flatten(1) @ dx.reshape(-1, 1)  # (r, 1)
        return -(torch.cholesky_solve(moved, self.factor) / self.lam)[:, 0] @ self.q_u


def controls(chain: Chain, row: Tensor) -> list[Tensor]:
    """A row of D parameters as one u_t (p_t,) a layer."""
    sizes = [layer.parameters for layer in chain.layers]
    ends = [sum(sizes[: t + 1]) for t in range(len(sizes))]
    return [row[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def step(chain: Chain, t: int, x: Tensor, u: Tensor) -> tuple[Stage, Tensor]:
    """Layer t at state x under control u, and the state that follows."""
    layer = chain.layers[t]
    split = layer.outputs * layer.inputs
    weight, bias = u[:split].view(layer.outputs, layer.inputs), None if layer.bias is None else u[split:]
    z = F.linear(x, weight, bias)
    after, slope = _activate(z, chain.activations[t] if t < len(chain.activations) else "identity")
    return Stage(x, weight, bias, slope), after


def _activate(z: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """sigma(z) and sigma'(z)."""
    if name == "tanh":
        y = z.tanh()
        return y, 1 - y * y
    if name == "sigmoid":
        y = z.sigmoid()
        return y, y * (1 - y)
    if name == "relu":
        return z.relu(), (z > 0).to(z.dtype)
    return z, torch.ones_like(z)


def forward(chain: Chain, us: Sequence[Tensor]) -> tuple[list[Stage], Tensor]:
    """The trajectory under the controls: every layer's stage, and the outputs (N, O)."""
    stages, x = [], chain.inputs
    for t, u in enumerate(us):
        stage, x = step(chain, t, x, u)
        stages.append(stage)
    return stages, x


def rollout(
    chain: Chain, stages: Sequence[Stage], us: Sequence[Tensor], gains: Sequence[Gain], a: float
) -> list[Tensor]:
    """New controls u + a k + K (x^ - x), x^ the trajectory that they themselves bring about."""
    new, x = [], chain.inputs
    for t, (stage, u, gain) in enumerate(zip(stages, us, gains, strict=True)):
        new.append(u + a * gain.k + gain.feedback(x - stage.x))
        _, x = step(chain, t, x, new[-1])
    return new


def terminal_gradient(chain: Chain, z: Tensor) -> Tensor:
    """V_x at the outputs z (N, O): the gradient of the mean loss."""
    if chain.loss == "mse":
        return 2 * (z - chain.targets) / z.numel()
    if chain.loss == "bce":
        return (z.sigmoid() - chain.targets) / z.numel()
    return (z.softmax(1) - F.one_hot(chain.targets, z.shape[1])) / len(z)


def terminal_factor(chain: Chain, z: Tensor) -> Tensor:
    """Z with V_xx = Z Z^T at the outputs z (N, O), as r = N O rows (r, N, O), each on one sample.

    Mean squared error: sqrt(2 / (N O)) I. Cross-entropy: N^-1/2 (diag sqrt p - p sqrt p^T) a sample.
    """
    samples, outputs = z.shape
    if chain.loss == "mse":
        root = torch.eye(outputs, dtype=z.dtype, device=z.device).expand(samples, -1, -1) * (2 / z.numel()) ** 0.5
    elif chain.loss == "bce":
        p = z.sigmoid()
        root = torch.diag_embed((p * (1 - p) / z.numel()).sqrt())
    else:
        p = z.softmax(1)
        root = (torch.diag_embed(p.sqrt()) - p.sqrt()[:, :, None] * p[:, None, :]) / samples**0.5  # column, output
    factor = z.new_zeros(samples, outputs, samples, outputs)
    each = torch.arange(samples, device=z.device)
    factor[each, :, each] = root
    return factor.reshape(samples * outputs, samples, outputs)


def gains(stages: Sequence[Stage], v_x: Tensor, factor: Tensor, lam: float) -> tuple[list[Gain], float]:
    """The backward recursion in Gauss-Newton form, V_xx = Z Z^T, and the decrease that its quadratic model predicts.

    With q_x = f_x^T Z', q_u = f_u^T Z' and Q_uu = lam I + q_u q_u^T, the Woodbury identity turns every inverse into one
    of I + q_u^T q_u / lam (r, r), which is solved through its Cholesky factor C: an explicit inverse loses all digits
    at small lam. Then V_x = Q_x + q_x (q_u^T k) and Z = q_x C^-T. Here the r columns are rows, so products are
    transposed. Gives ([], 0) where the factorisation breaks down, which more damping cures.
    """
    found: list[Gain] = []
    predicted = 0.0
    identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    for stage in reversed(stages):
        (q_x, q_u), (grad_x, grad_u) = stage.pull(factor), stage.pull(v_x[None])
        g = grad_u[0]  # Q_u, (p,)
        root, failed = torch.linalg.cholesky_ex(identity + q_u @ q_u.T / lam)
        if int(failed):
            return [], 0.0
        k = -(g - torch.cholesky_solve((q_u @ g)[:, None], root)[:, 0] @ q_u / lam) / lam
        found.append(Gain(k, q_u, q_x, root, lam))
        predicted -= 0.5 * float(k @ g)
        v_x = grad_x[0] + torch.tensordot(q_u @ k, q_x, 1)
        factor = torch.linalg.solve_triangular(root, q_x.flatten(1), upper=False).view_as(q_x)
    return found[::-1], predicted
