"""Pendulum swing-up as a batch of torch environments (the numbers of gymnasium's Pendulum-v1).

The loss is the negative mean return of a fixed batch of episodes (first states and action noise are the data). Two
gradients of the same value: `gradient="dynamics"` differentiates through the simulated physics, `gradient="score"` is
the score-function estimate (REINFORCE, Williams 1992), which treats the physics as unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from optbench.core.problem import Batch, Known, Net, Problem, Splits, generator
from optbench.problems.cartpole import advantage
from optbench.problems.shared import stated

GRAVITY, TICK, TORQUE, SPEED = 10.0, 0.05, 2.0, 8.0  # m/s2, s, N m, rad/s; mass 1 kg, length 1 m
SPREAD = 0.5  # standard deviation of the torque around the policy's
STATED = {(100, 16): Known(652.107, 260.57965)}  # (steps, hidden): start, best known (CMA-ES, 3000 passes)


def step(state: Tensor, torque: Tensor) -> tuple[Tensor, Tensor]:
    """One tick: states (E, 2) of angle (0 is up) and speed, torques (E,) -> next states and rewards (E,)."""
    angle, speed = state.unbind(-1)
    torque = torque.clamp(-TORQUE, TORQUE)
    wrapped = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    reward = -(wrapped.square() + 0.1 * speed.square() + 0.001 * torque.square())
    speed = (speed + (3 * GRAVITY / 2 * angle.sin() + 3.0 * torque) * TICK).clamp(-SPEED, SPEED)
    return torch.stack([angle + speed * TICK, speed], -1), reward


def observe(state: Tensor) -> Tensor:
    """(..., 2) -> (..., 3): cosine and sine of the angle, and the speed."""
    angle, speed = state.unbind(-1)
    return torch.stack([angle.cos(), angle.sin(), speed], -1)


class Policy(nn.Module):
    """(E, 3) observations -> (E,) torques within the motor's range."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, hidden), nn.Tanh(), nn.Linear(hidden, 1), nn.Tanh())

    def forward(self, observed: Tensor) -> Tensor:
        torque: Tensor = TORQUE * self.layers(observed).squeeze(-1)
        return torque


@dataclass(frozen=True)
class Pendulum(Problem):
    """Swing a pendulum up and hold it: negative mean return of 64 episodes, by score function or through physics."""

    gradient: str = "score"  # or "dynamics"
    steps: int = 100  # ticks of an episode
    hidden: int = 16

    track = "reinforcement"
    loss_name = "reward"
    passes = 200.0
    bound = 0.0
    taus = (0.85, 0.78)  # at the default budget random search comes to 0.81, a swarm to 0.74

    def __post_init__(self) -> None:
        stated("gradient", self.gradient, ("score", "dynamics"))

    @property
    def known(self) -> Known | None:
        return STATED.get((self.steps, self.hidden))

    def network(self) -> nn.Module:
        return Policy(self.hidden)

    def data(self) -> Splits:
        """64 / 64 / 64 episodes: angles in [-pi, pi] and speeds in [-1, 1] (E, 2), action noise (E, steps)."""
        stream = generator(0, "pendulum")
        reach = torch.tensor([math.pi, 1.0])
        return Splits(
            *(
                (reach * (2 * torch.rand(64, 2, generator=stream) - 1), torch.randn(64, self.steps, generator=stream))
                for _ in range(3)
            )
        )

    def loss(self, net: Net, batch: Batch) -> Tensor:
        if self.gradient == "dynamics":
            return -rollout(net, *batch)[2].sum(0).mean()
        with torch.no_grad():
            states, torques, rewards = rollout(net, *batch)
        value = -rewards.sum(0).mean()
        if not torch.is_grad_enabled():
            return value
        mean = net(observe(states).flatten(0, 1)).view(torques.shape)
        likelihood = -((torques - mean) / SPREAD).square() / 2  # log density, less a constant
        surrogate = -(advantage(rewards) * likelihood).sum(0).mean()
        return value + (surrogate - surrogate.detach())  # the second term is 0, but not its derivative

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        """Share of the episodes that end within 0.3 rad of upright."""
        states, _, _ = rollout(net, *batch)
        return {"upright": (states[-1, :, 0].cos() > math.cos(0.3)).double().mean()}


def rollout(net: Net, state: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Episodes from states (E, 2) under noise (E, T): states (T, E, 2), torques as drawn and rewards (T, E)."""
    states, torques, rewards = [], [], []
    for number in noise.unbind(1):
        torque = net(observe(state)) + SPREAD * number
        states.append(state)
        torques.append(torque)
        state, reward = step(state, torque)
        rewards.append(reward)
    return torch.stack(states), torch.stack(torques), torch.stack(rewards)
