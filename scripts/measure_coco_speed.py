"""Evaluations a second of CPU time on bbob: COCO's loops in C and in Python, and ours, in one session.

    OMP_NUM_THREADS=1 python scripts/measure_coco_speed.py

Random points in 10 dimensions, f1, f10 and f21. "C" is COCO's compiled loop over a matrix of points, "Python" that
of its example experiments, with and without its observer. Ours are `f.value` on 32 candidates and on one at a time, and
`optbench coco` under the observer.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def speeds(count: int, repeats: int) -> dict[str, float]:
    """{loop: evaluations a second of CPU time}, the median of the repeats, which alternate."""
    import cocoex
    import numpy as np
    import torch

    from optbench.bridges.coco import Experiment, run
    from optbench.core.objective import Stop
    from optbench.engine.metered import metered
    from optbench.registry.catalog import Catalog

    cocoex.log_level("warning")
    torch.set_num_threads(1)
    functions, d = (1, 10, 21), 10
    points = np.random.default_rng(0).uniform(-5, 5, (count, d))

    def compiled() -> None:
        for f in functions:
            cocoex.BareProblem("bbob", f, d, 1)(points)

    def python(observed: bool) -> Callable[[], None]:
        def loop() -> None:
            with tempfile.TemporaryDirectory() as folder:
                observer = cocoex.Observer("bbob", f'result_folder: a outer_folder: "{folder}"') if observed else None
                indices = ",".join(map(str, functions))
                suite = cocoex.Suite("bbob", "instances: 1", f"dimensions: {d} function_indices: {indices}")
                for problem in suite:
                    problem.observe_with(observer)
                    for x in points:
                        problem(x)
                    problem.free()

        return loop

    def ours(candidates: int) -> Callable[[], None]:
        parts = torch.from_numpy(points)[: count // candidates * candidates].view(-1, 1, candidates, d)

        def loop() -> None:
            for f in functions:
                objective = metered(Catalog().problem(f"bbob[d={d},f={f}]"), [0], float(count), needs="value")
                try:
                    for part in parts:
                        objective.value(part)
                except Stop:
                    pass

        return loop

    def command() -> None:
        with tempfile.TemporaryDirectory() as folder:
            chosen = {"functions": ",".join(map(str, functions)), "dimensions": str(d), "instances": "1"}
            run(Experiment("random_search", budget=count / d, **chosen), Path(folder), say=lambda line: None)

    loops: dict[str, Callable[[], Any]] = {
        "C": compiled,
        "Python": python(False),
        "Python, observed": python(True),
        "optbench, 32 candidates": ours(32),
        "optbench, one at a time": ours(1),
        "optbench coco, observed": command,
    }
    taken: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(repeats):
        for name, loop in loops.items():
            began = time.process_time()
            loop()
            taken[name].append(time.process_time() - began)
    return {name: len(functions) * count / sorted(found)[len(found) // 2] for name, found in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3200, help="evaluations a function")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for name, speed in speeds(options.count, options.repeats).items():
        print(f"{name:<26}{speed:>12,.0f}", flush=True)


if __name__ == "__main__":
    main()
