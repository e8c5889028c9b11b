"""The memory limit counts what a process holds, not the files that it maps."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import psutil
import pytest

from optbench.execution.held import held_bytes

SIZE = 2**26  # bytes


def test_a_mapped_file_does_not_count_and_an_array_does(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.zeros(SIZE // 8))
    process = psutil.Process()
    held, resident = held_bytes(), process.memory_info().rss
    mapped = np.load(tmp_path / "data.npy", mmap_mode="c")
    assert mapped.sum() == 0.0
    if process.memory_info().rss - resident < SIZE // 2 or not Path("/proc/self/status").exists():
        pytest.skip("this system does not count mapped pages as resident, or does not tell them apart")
    assert held_bytes() - held < SIZE // 8
    with mmap.mmap(-1, SIZE) as fresh:  # memory of nobody before; an array may be given what another has freed
        fresh.write(b"1" * SIZE)
        assert held_bytes() - held > SIZE // 2
