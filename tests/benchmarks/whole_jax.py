"""The sweep of `bench_whole` as one would write it in JAX: python whole_jax.py SWEEP.npz [LANES A PROGRAM].

SWEEP.npz has the data, the starts, the learning rates, the minibatches' seed, the steps and the steps at which every
network is scored on all splits. Imports nothing of optbench: JAX may live in an environment of its own. Prints one JSON
object: seconds, processor seconds, compiling among them, and the median final training loss.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main(file: str, at_once: int) -> dict[str, float]:
    began, used = time.perf_counter(), time.process_time()
    import jax
    import jax.numpy as jnp
    import numpy as np

    given = np.load(file)
    splits = [(jnp.asarray(given[f"x{k}"]), jnp.asarray(given[f"y{k}"])) for k in range(3)]
    x, y = splits[0]
    stops, batch = [int(step) for step in given["stops"]], int(given["batch"])

    def outputs(p: Any, x: Any) -> Any:
        return jax.nn.log_softmax(jax.nn.relu(x @ p[0].T + p[1]) @ p[2].T + p[3])

    def loss(p: Any, x: Any, y: Any) -> Any:
        return -jnp.take_along_axis(outputs(p, x), y[:, None], 1).mean()

    gradient = jax.vmap(jax.grad(lambda p, index: loss(p, x[index], y[index])))

    def step(rates: Any, state: Any, index: Any) -> Any:
        p, m, v, t = state
        g, t = gradient(p, index), t + 1
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
        unbiased = [(b / (1 - 0.9**t), c / (1 - 0.999**t)) for b, c in zip(m, v, strict=True)]
        shaped = [rates.reshape(-1, *[1] * (a.ndim - 1)) for a in p]
        p = [a - r * b / (jnp.sqrt(c) + 1e-8) for a, r, (b, c) in zip(p, shaped, unbiased, strict=True)]
        return (p, m, v, t), None

    def scores(p: Any) -> Any:
        found = []
        for x, y in splits:
            likely = outputs(p, x)
            found += [-jnp.take_along_axis(likely, y[:, None], 1).mean(), (likely.argmax(1) == y).mean()]
        return jnp.stack(found)

    train = jax.jit(lambda rates, state, order: jax.lax.scan(lambda s, i: step(rates, s, i), state, order)[0])
    score = jax.jit(jax.vmap(scores))
    rng = np.random.default_rng(0)
    finals, curves = [], []
    for at in range(0, len(given["rates"]), at_once):
        rates = jnp.asarray(given["rates"][at : at + at_once])
        p = [jnp.asarray(given[f"p{k}"][at : at + at_once]) for k in range(4)]
        state = (p, [0 * a for a in p], [0 * a for a in p], 0.0)
        drawn = np.empty((len(rates), 0), dtype=np.int32)  # indices of the next steps: permutations, end to end
        done = 0
        for stop in stops:
            while done < stop:
                # chunks of powers of two, so that few lengths are compiled
                count = 1 << min(7, (stop - done).bit_length() - 1)
                while drawn.shape[1] < count * batch:
                    epoch = np.stack([rng.permutation(len(x)).astype(np.int32) for _ in rates])
                    drawn = np.concatenate([drawn, epoch], 1)
                order = drawn[:, : count * batch].reshape(len(rates), count, batch).swapaxes(0, 1)
                drawn = drawn[:, count * batch :]
                state, done = train(rates, state, jnp.asarray(order)), done + count
            curves.append(np.asarray(score(state[0])))
        finals.append(curves[-1][:, 0])
    return {
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - used,
        "median_final_loss": float(np.median(np.concatenate(finals))),
        "scores": len(curves),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 160)))
