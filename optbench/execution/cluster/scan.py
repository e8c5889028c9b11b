"""Finds out which files plugins and problems read: everything is imported and loaded once, and what is opened is noted.

    python -m optbench.execution.cluster.scan ANSWER < REQUEST

A process of its own, so that code of others changes nothing where the run is coordinated.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from optbench.core.trial import RequestError
from optbench.registry.catalog import Catalog
from optbench.registry.specs import one_line

SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/bin", "/run")


def main() -> int:
    asked = json.load(sys.stdin)
    sys.path[:] = asked["path"]
    opened: set[str] = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            mode, flags = arguments[1], arguments[2]
            reads = "r" in mode if isinstance(mode, str) else not (flags or 0) & (os.O_WRONLY | os.O_RDWR)
            if reads:
                opened.add(os.path.abspath(os.fsdecode(arguments[0])))

    from optbench.engine.data import splits

    before = set(sys.modules)
    sys.addaudithook(note)
    found: dict[str, Any] = {}
    try:
        catalog = Catalog(asked["files"])
        for name in asked["problems"]:
            splits(catalog.problem(name), "cpu")
        for name in asked["optimizers"]:
            catalog.optimizer(name, {})
    except RequestError as error:
        found["error"] = str(error)
    except Exception as error:
        found["error"] = f"loading what plugins and problems read: {one_line(error)}"
    noted = set(opened)  # what the next lines open is nobody's
    noted |= {str(file) for file in asked["files"]}
    for name in set(sys.modules) - before:
        noted.add(getattr(sys.modules[name], "__file__", None) or "")
    found["opened"] = sorted(path for path in map(os.path.realpath, filter(None, noted)) if _is_users(path))
    Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
    return 0


def _is_users(path: str) -> bool:
    """Whether a file is the user's own, and not an installed package's, optbench's or the system's."""
    import optbench
    from optbench import problems

    own = [*optbench.__path__, *problems.__path__, sys.prefix, sys.base_prefix, sys.exec_prefix]
    if any(Path(path).is_relative_to(os.path.realpath(top)) for top in (*own, *SYSTEM)):
        return False
    if any(part == "site-packages" or part.endswith((".egg-info", ".dist-info")) for part in Path(path).parts):
        return False
    return not path.endswith(".pyc") and os.path.isfile(path)


if __name__ == "__main__":
    sys.exit(main())
