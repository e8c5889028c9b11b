"""`python -m optbench`, and the console command `optbench`: the command line."""

from __future__ import annotations

import gc
import sys

from optbench.cli import main


def command() -> int:
    """The exit code of the command line; what is left to the interpreter is to end.

    Its last collection would walk all of torch and pandas, a second in which the user waits for nothing.
    """
    code = main()
    gc.freeze()
    gc.disable()
    return code


if __name__ == "__main__":
    sys.exit(command())
