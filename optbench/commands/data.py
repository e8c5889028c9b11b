"""`data`: standard data sets, which are here, and how to get one."""

from __future__ import annotations

import argparse
from typing import Any

from optbench.arguments import command
from optbench.core.trial import RequestError

DATA_EXAMPLES = """examples:
  OPTBENCH_DATA=~/data optbench data                 which of them are there
  OPTBENCH_DATA=~/data optbench data mnist --download
"""


def add(commands: Any) -> None:
    data = command(commands, "data", "say which standard data sets are here, and get one", _data, DATA_EXAMPLES)
    data.add_argument("name", nargs="?", help="mnist, fmnist, cifar10, cifar100, svhn or tolstoi (default: all)")
    data.add_argument("--download", action="store_true", help="into the folder OPTBENCH_DATA, checksums compared")
    data.add_argument("--mirror", metavar="URL", help="where else its files are")


def _data(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.problems import data_files
    from optbench.registry.specs import nearest

    sets, folder = data_files.DATA_SETS, data_files.folder()
    names = [options.name] if options.name else [*sets]
    for name in names:
        if name not in sets:
            raise RequestError(f"no data set {name!r}, {nearest(name, sets, '')}; there are {', '.join(sets)}")
    print(f"{data_files.VARIABLE} is {folder or 'not set: no data set is looked for'}")
    if options.download:
        if not options.name or folder is None:
            raise RequestError(
                f"--download gets one data set, by name, into the folder {data_files.VARIABLE}: set both"
            )
        try:
            data_files.download(options.name, folder, url=options.mirror)
        except (ValueError, OSError) as error:
            raise RequestError(f"{options.name}: {' '.join(str(error).split())}") from None
    for name in names:
        print(f"{name:<9} {'ready   ' if data_files.is_ready(name) else 'not here'}  {sets[name].summary}")
        if options.name:
            for layout in sets[name].layouts:
                print(f"  one of: {', '.join(layout)}")
    return 0
