"""CartPole and Pendulum step as gymnasium's do, and their gradients are what they claim to be."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from optbench.core.problem import fresh
from optbench.problems import cartpole, pendulum
from optbench.problems.cartpole import CartPole, advantage
from optbench.problems.pendulum import Pendulum

STEPS = 10_000


def test_cartpole_equals_gymnasium_exactly_over_random_steps() -> None:
    """States carried along by each side on its own, in float64; equal to the last bit, and so are the endings.

    Where this machine's NumPy does not take its sine from the C library, the states may differ by rounding.
    """
    angles = np.linspace(-0.25, 0.25, 5000)
    exact = all(np.sin(a) == math.sin(a) and np.cos(a) == math.cos(a) for a in angles)
    env = gymnasium.make("CartPole-v1").unwrapped
    actions = np.random.default_rng(0).integers(0, 2, STEPS)
    env.reset(seed=0)
    mine = torch.as_tensor(np.array(env.state), dtype=torch.float64)[None]
    endings = 0
    for action in actions:
        _, reward, terminated, _, _ = env.step(int(action))
        mine, fallen = cartpole.step(mine, torch.tensor([bool(action)]))
        assert np.abs(mine[0].numpy() - env.state).max() <= (0.0 if exact else 1e-12)
        assert bool(fallen) == terminated and reward == 1.0
        if terminated:
            endings += 1
            env.reset()
            mine = torch.as_tensor(np.array(env.state), dtype=torch.float64)[None]
    assert endings > 100


def test_pendulum_equals_gymnasium_over_random_steps() -> None:
    """50 episodes of 200 steps side by side in float64, torques beyond the motor's range included."""
    env = gymnasium.make("Pendulum-v1").unwrapped
    torques = np.random.default_rng(0).uniform(-3, 3, (50, 200))
    theirs, rewards = np.empty((50, 201, 2)), np.empty((50, 200))
    env.reset(seed=0)
    for episode in range(50):
        env.reset()
        theirs[episode, 0] = env.state
        for t in range(200):
            rewards[episode, t] = env.step(torques[episode, t : t + 1])[1]
            theirs[episode, t + 1] = env.state
    state = torch.as_tensor(theirs[:, 0])
    for t in range(200):
        state, reward = pendulum.step(state, torch.as_tensor(torques[:, t]))
        assert np.allclose(state.numpy(), theirs[:, t + 1], rtol=0, atol=1e-9)
        assert np.allclose(reward.numpy(), rewards[:, t], rtol=0, atol=1e-8)


def test_pendulum_observation_is_gymnasiums() -> None:
    env = gymnasium.make("Pendulum-v1").unwrapped
    seen, _ = env.reset(seed=3)
    assert np.allclose(pendulum.observe(torch.as_tensor(env.state)).numpy(), seen, atol=1e-7)


def test_cartpole_return_counts_the_steps_until_the_pole_falls() -> None:
    """Always pushing right: the batched return of each episode against gymnasium's, one by one."""

    def right(state: Tensor) -> Tensor:
        return torch.full_like(state[:, :1], 50.0)

    state = torch.as_tensor(np.random.default_rng(1).uniform(-0.05, 0.05, (5, 4)))
    _, _, rewards = cartpole.rollout(right, state, torch.full((5, 30), 0.5, dtype=torch.float64))
    for episode in range(5):
        env = gymnasium.make("CartPole-v1").unwrapped
        env.reset()
        env.state = state[episode].numpy()
        count, terminated = 0, False
        while not terminated:
            terminated, count = env.step(1)[2], count + 1
        assert rewards[:, episode].sum() == count


@pytest.mark.parametrize("problem", [CartPole(), Pendulum("score"), Pendulum("dynamics")], ids=str)
def test_the_value_is_the_negative_mean_return_whatever_the_gradient(problem: CartPole | Pendulum) -> None:
    train = problem.data().train
    net = fresh(problem, 1)[0]
    module = cartpole if isinstance(problem, CartPole) else pendulum
    with torch.no_grad():
        expected = -module.rollout(net, *train)[2].sum(0).mean()
        assert problem.loss(net, train) == expected
    assert problem.loss(net, train).item() == expected.item()
    parameters = {name: p.detach()[None] for name, p in net.named_parameters()}
    lanes = vmap(lambda p: problem.loss(lambda *x: functional_call(net, p, x), train))(parameters)
    assert lanes.item() == pytest.approx(expected.item(), rel=1e-5)


class Bias(nn.Module):
    """A policy that does not look: its logit or torque is one number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))


class PushBias(Bias):
    def forward(self, state: Tensor) -> Tensor:
        return self.value.expand(len(state), 1)


class TorqueBias(Bias):
    def forward(self, seen: Tensor) -> Tensor:
        return self.value.expand(len(seen))


def test_cartpole_gradient_is_the_score_function_estimate() -> None:
    """Averaged over every pair of action sequences with its probability, it is the gradient of the exact mean return.

    Four pushes from a tilted start, so that some sequences fall and some do not; the exact return is a polynomial in
    p that is differentiated by autograd. A wrong sign, a missing reward to go or a biased baseline would show.
    """
    ticks = 4
    start = torch.tensor([[0.0, 0.0, 0.17, 0.9]], dtype=torch.float64)
    problem, net = CartPole(steps=ticks), PushBias(0.3)
    sequences = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * ticks)  # (S, ticks)
    uniform = 1 - sequences  # 0 is below every probability (a push), 1 above it
    count = len(sequences)
    _, pushes, rewards = cartpole.rollout(net, start.expand(count, 4), uniform)
    assert torch.equal(pushes.T.double(), sequences) and rewards.sum(0).unique().numel() > 1
    p = net.value.sigmoid()
    chance = torch.where(sequences > 0, p, 1 - p).prod(1)  # (S,)
    (exact,) = torch.autograd.grad(-(chance * rewards.sum(0).detach()).sum(), net.value)

    weights = chance.detach()
    estimate = 0.0
    for a in range(count):
        for b in range(count):  # two episodes, so that the baseline of one is the other
            net.value.grad = None
            problem.loss(net, (start.expand(2, 4), uniform[[a, b]])).backward()
            estimate += (weights[a] * weights[b] * net.value.grad).item()
    assert abs(exact.item()) > 0.01
    assert estimate == pytest.approx(exact.item(), rel=1e-9)


def test_the_baseline_leaves_the_own_episode_out() -> None:
    rewards = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    to_go = torch.tensor([[2.0, 1.0, 2.0], [1.0, 0.0, 1.0]])
    others = torch.tensor([[1.5, 2.0, 1.5], [0.5, 1.0, 0.5]])
    assert torch.equal(advantage(rewards), to_go - others)
    assert torch.equal(advantage(rewards[:, :1]), to_go[:, :1])


def test_pendulum_dynamics_gradient_is_the_derivative_of_the_return() -> None:
    """Against central differences, in float64 and where no clamp is active."""
    problem = Pendulum("dynamics", steps=20)
    batch = (torch.tensor([[0.3, 0.1], [-0.5, 0.2]], dtype=torch.float64), torch.zeros(2, 20, dtype=torch.float64))

    def loss(value: float) -> Tensor:
        return problem.loss(TorqueBias(value), batch)

    net = TorqueBias(0.4)
    problem.loss(net, batch).backward()
    assert net.value.grad is not None
    slope = (loss(0.4 + 1e-6) - loss(0.4 - 1e-6)).item() / 2e-6
    assert net.value.grad.item() == pytest.approx(slope, rel=1e-6)


def test_pendulum_score_gradient_agrees_with_the_dynamics_gradient_in_the_mean() -> None:
    """Two estimates of one quantity: with the same noise, their means over many episodes meet within five errors."""
    ticks, episodes = 4, 20_000
    stream = torch.Generator().manual_seed(0)
    state = torch.tensor([[2.0, 0.5]], dtype=torch.float64).expand(episodes, 2)
    noise = torch.randn(episodes, ticks, generator=stream, dtype=torch.float64)
    gradients = []
    for kind in ("score", "dynamics"):
        net = TorqueBias(0.2)
        Pendulum(kind, steps=ticks).loss(net, (state, noise)).backward()
        assert net.value.grad is not None
        gradients.append(net.value.grad.item())

    # the error of the score estimate, from the spread over blocks of episodes
    blocks = []
    for part in range(20):
        net = TorqueBias(0.2)
        rows = slice(part * 1000, (part + 1) * 1000)
        Pendulum("score", steps=ticks).loss(net, (state[rows], noise[rows])).backward()
        assert net.value.grad is not None
        blocks.append(net.value.grad.item())
    error = float(np.std(blocks)) / math.sqrt(20)
    assert abs(gradients[0] - gradients[1]) < 5 * error < abs(gradients[1])


def test_lanes_take_the_score_gradient_too() -> None:
    """torch.func differentiates the surrogate, not the return (whose derivative is zero)."""
    problem = CartPole(steps=30)
    train = problem.data().train
    net = fresh(problem, 2)[0]
    problem.loss(net, train).backward()
    parameters = {name: p.detach()[None] for name, p in net.named_parameters()}
    gradients = vmap(grad(lambda p: problem.loss(lambda *x: functional_call(net, p, x), train)))(parameters)
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0
        assert torch.allclose(gradients[name][0], p.grad, rtol=1e-3, atol=1e-4)
