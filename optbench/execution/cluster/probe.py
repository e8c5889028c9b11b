"""What a machine has installed and is, found without importing any of it. Standard library only.

The text of this file is sent to workers as it stands: it must run under every Python, with or without optbench.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import socket
import sys
from typing import Any

SKIPPED = ("__pycache__",)


def look(distributions: tuple[str, ...]) -> dict[str, Any]:
    """What decides the numbers on this machine, and what the machine is, as plain data.

    distributions: names of the installed packages whose versions are wanted.
    """
    return {
        "python": "{}.{}".format(*sys.version_info[:2]),
        "versions": {name: _version(name) for name in distributions},
        "source": _source(),
        "host": socket.gethostname(),
        "system": platform.system(),
        "gpus": _gpus(),
        "memory": _memory(),
    }


def _version(name: str) -> str | None:
    """Without what stands behind "+": whether torch was built for a GPU is no other version of it."""
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def _source() -> str | None:
    """A digest of optbench's own source and data, None where it is not installed."""
    files = []
    for package in ("optbench", "optbench.problems"):
        try:
            found = importlib.util.find_spec(package)
        except ImportError:
            return None
        if found is None or not found.submodule_search_locations:
            return None
        files += _files(package, next(iter(found.submodule_search_locations)))
    known: dict[Any, str] = vars(sys).setdefault("_optbench_digests", {})  # asked again and again, of files that stay
    state = tuple((path, os.stat(path).st_mtime_ns, os.stat(path).st_size) for _, path in files)
    if state not in known:
        digest = hashlib.sha256()
        for name, path in files:
            with open(path, "rb") as file:
                content = file.read().replace(b"\r\n", b"\n")
            digest.update(f"{name} {len(content)}\n".encode() + content)
        known[state] = digest.hexdigest()[:16]
    return known[state]


def _files(package: str, top: str) -> list[tuple[str, str]]:
    """(name inside the package, path) of its source and data, in one order everywhere."""
    found = []
    for folder, folders, files in os.walk(top):
        inside = os.path.relpath(folder, top).replace(os.sep, "/")
        folders[:] = [name for name in folders if name not in SKIPPED]
        if package == "optbench" and inside.split("/")[0] == "problems":
            continue  # it is looked at as optbench.problems, wherever it was installed
        wanted = [name for name in files if name.endswith((".py", ".toml", ".csv", ".npz", ".gz", ".txt"))]
        found += [(f"{package}/{inside}/{name}", os.path.join(folder, name)) for name in wanted]
    return sorted(found)


def _gpus() -> int:
    """How many GPUs a process here is shown: those of CUDA_VISIBLE_DEVICES, else all that the driver lists."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return len([one for one in shown.split(",") if one.strip() and one.strip() != "-1"])
    try:
        return len(os.listdir("/proc/driver/nvidia/gpus"))
    except OSError:
        return 0


def _memory() -> int:
    """Bytes that the machine, or the share of it that this process may use, has; 0 where nobody knows."""
    try:
        from distributed.system import MEMORY_LIMIT
    except ImportError:
        return 0
    return int(MEMORY_LIMIT)
