"""CartPole as a batch of torch environments (Barto, Sutton & Anderson 1983; the numbers of gymnasium's CartPole-v1).

The loss is the negative mean return of a fixed batch of episodes: their first states and the random numbers that turn
probabilities into actions are the data, so the loss of a network is one number. A return has no useful derivative, so
backward gives the score-function estimate instead (REINFORCE, Williams 1992) while the value stays the return.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.problem import Batch, Best, Known, Net, Problem, Splits, generator

GRAVITY, CART, POLE, HALF, FORCE, TICK = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02  # m/s2, kg, kg, m, N, s
MASS, MOMENT = CART + POLE, POLE * HALF
EDGE, TILT = 2.4, 12 * 2 * math.pi / 360  # m and rad at which an episode ends
STATED = {(100, 16): Known(-22.6875)}  # (steps, hidden): start


def step(state: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """One tick: states (E, 4) of position, speed, angle, angular speed and pushes (E,) -> next states, fallen (E,)."""
    x, speed, angle, spin = state.unbind(-1)
    force = torch.where(right, FORCE, -FORCE).to(state.dtype)
    # polar takes cosine and sine from the C library, as gymnasium's NumPy does; torch.cos and torch.sin differ from it
    # in the last bit now and then, and no longer match step for step
    cos, sin = torch.view_as_real(torch.polar(torch.ones_like(angle), angle)).unbind(-1)
    push = (force + MOMENT * spin.square() * sin) / MASS
    angular = (GRAVITY * sin - cos * push) / (HALF * (4.0 / 3.0 - POLE * cos.square() / MASS))
    linear = push - MOMENT * angular * cos / MASS
    x, angle = x + TICK * speed, angle + TICK * spin
    after = torch.stack([x, speed + TICK * linear, angle, spin + TICK * angular], -1)
    return after, (x.abs() > EDGE) | (angle.abs() > TILT)


@dataclass(frozen=True)
class CartPole(Problem):
    """Balance a pole on a cart: negative mean return of 64 episodes; the gradient is REINFORCE's."""

    steps: int = 100  # ticks after which an episode ends
    hidden: int = 16

    track = "reinforcement"
    loss_name = "reward"
    passes = 200.0
    taus = (0.9, 0.5, 0.1, 1e-2)

    @property
    def known(self) -> Known | None:
        return STATED.get((self.steps, self.hidden))

    @property
    def best(self) -> Best:
        return Best(-float(self.steps), "bound")

    def network(self) -> nn.Module:
        """(E, 4) states -> (E, 1) logits of pushing right."""
        return nn.Sequential(nn.Linear(4, self.hidden), nn.Tanh(), nn.Linear(self.hidden, 1))

    def data(self) -> Splits:
        """64 / 64 / 64 episodes: first states (E, 4) in [-0.05, 0.05], as in gymnasium, and numbers (E, steps)."""
        stream = generator(0, "cartpole")
        draws = [torch.rand(64, 4 + self.steps, generator=stream) for _ in range(3)]
        return Splits(*((0.1 * draw[:, :4] - 0.05, draw[:, 4:]) for draw in draws))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        with torch.no_grad():
            states, pushes, rewards = rollout(net, *batch)
        value = -rewards.sum(0).mean()
        if not torch.is_grad_enabled():
            return value
        logits = net(states.flatten(0, 1)).view(pushes.shape)
        surrogate = -(advantage(rewards) * F.logsigmoid(torch.where(pushes, logits, -logits))).sum(0).mean()
        return value + (surrogate - surrogate.detach())  # the second term is 0, but not its derivative

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        """Share of the episodes in which the pole stays up to the end."""
        _, _, rewards = rollout(net, *batch)
        return {"survived": (rewards.sum(0) == self.steps).double().mean()}


def rollout(net: Net, state: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Episodes from states (E, 4) under numbers (E, T): states (T, E, 4), pushes and rewards (T, E).

    The reward is 1 for each tick, the one that ends the episode included, and 0 from then on.
    """
    alive = torch.ones_like(state[:, 0])
    states, pushes, rewards = [], [], []
    for number in uniform.unbind(1):
        push = number < net(state).squeeze(-1).sigmoid()
        states.append(state)
        pushes.append(push)
        rewards.append(alive)
        state, fallen = step(state, push)
        alive = alive * ~fallen
    return torch.stack(states), torch.stack(pushes), torch.stack(rewards)


def advantage(rewards: Tensor) -> Tensor:
    """(T, E) reward to go, less its mean over the other episodes: lower variance, no bias (Kool et al. 2019)."""
    to_go = rewards.flip(0).cumsum(0).flip(0)
    others = rewards.shape[1] - 1
    return to_go - (to_go.sum(1, keepdim=True) - to_go) / others if others else to_go
