"""`python -m optbench`, and the console command `optbench`: the command line, which Ctrl-C ends at any moment.

What is imported here is there before the first line below runs, and an interpreter that Ctrl-C meets earlier than that
ends with a traceback of its own. So it is little, and the command line is imported where Ctrl-C is handled.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

REFUSED = 2  # exit code of a request, or a machine, that is no good; after an interrupt it is the interrupt's work
INTERRUPTED = 130  # exit code, as shells have it: 128 and the number of the signal
MESSAGE = "\noptbench: interrupted; every finished trial is kept, the same command goes on\n"
AGAIN_SECONDS = 0.05  # until an interrupt is raised again that came where nothing can be raised


class Interrupts:
    """Turns Ctrl-C into exit code 130 and one line, whatever runs at that moment.

    The first one raises KeyboardInterrupt, so that what is under way is put in order. A library may swallow it, or make
    another error of it; an error that comes out after it counts as the interrupt. The second one ends the process where
    it stands: worker processes see that it is gone, and the next call goes on. Once the command is over none counts.
    One that comes while a module is imported ends it there too: C++ that calls Python as its library is loaded, as
    torch.distributed does, is ended by `std::terminate` for an exception, whoever waits for it.
    """

    def __init__(self) -> None:
        self._asked = 0

    def exit_code(self, command: Callable[[], int]) -> int:
        """What `command` returns, or 130. What it raises, other than an interrupt, it raises."""
        try:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, self._interrupt)
            sys.unraisablehook = self._unraisable
            code = command()
            self._over()
        except BaseException as error:
            self._over()
            self._asked += isinstance(error, KeyboardInterrupt)  # before the line above that handles it
            if not self._asked:
                raise
            code = REFUSED
        if self._asked and code == REFUSED:
            _tell()
            return INTERRUPTED
        return code

    def _interrupt(self, _: int, frame: FrameType | None) -> None:
        self._asked += 1
        if self._asked > 1 or _importing(frame):
            _tell()
            os._exit(INTERRUPTED)
        raise KeyboardInterrupt

    def _unraisable(self, what: Any) -> None:
        """An interrupt that came within a destructor or a callback would be printed and lost: it comes again."""
        if not isinstance(what.exc_value, KeyboardInterrupt):
            sys.__unraisablehook__(what)
            return
        self._asked = 0
        again = threading.Timer(AGAIN_SECONDS, signal.raise_signal, (signal.SIGINT,))
        again.daemon = True
        again.start()

    @staticmethod
    def _over() -> None:
        """The interpreter that ends is not to be interrupted: it would die of the signal, or print a traceback.

        CPython also remembers an interrupt that left the text of an `exec` or `eval`, as dataclasses and named tuples
        use them. In the end `python -m` kills itself by the signal then, though the interrupt was handled. The next
        `exec` forgets it (`run_eval_code_obj` in CPython's Python/pythonrun.c).
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        exec("")


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _tell() -> None:
    """The line, past every buffer: whatever holds a lock on the stream does not hold it up."""
    try:  # noqa: SIM105  # contextlib would be one more import in which Ctrl-C is not handled yet
        os.write(2, MESSAGE.encode())
    except OSError:
        pass


def command() -> int:
    """The exit code of the command line; what is left to the interpreter is to end.

    Its last collection would walk all of torch and pandas, a second in which the user waits for nothing.
    """
    code = Interrupts().exit_code(_main)
    if code in (REFUSED, INTERRUPTED):
        _say_no_more()
    gc.freeze()
    gc.disable()
    return code


def _say_no_more() -> None:
    """The line is told. A library that tidies up in the interpreter's end, without memory too, may fail at it again."""
    try:  # noqa: SIM105  # as above
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stderr__.fileno() if sys.__stderr__ else 2)
    except (OSError, ValueError):
        pass


def _main() -> int:
    from optbench.cli import main

    for stream in (sys.stdout, sys.stderr):  # names of files, and words, that the terminal's encoding lacks
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return main()


if __name__ == "__main__":
    sys.exit(command())
