"""How the inner loops of the flow algorithms are compiled."""

from __future__ import annotations

import sys
from collections.abc import Callable

import llvmlite.binding
from numba import njit
from numba.core import event

# LLVM vectorises a loop after testing that what it writes and what it reads do not overlap, but by default gives up
# when that takes more than eight tests, which the fields of a flow algorithm do.
llvmlite.binding.set_option("", "--runtime-memory-check-threshold=128")


class _Announcement(event.Listener):
    """Says once per process that code is compiled, as that takes seconds in which nothing seems to happen."""

    def __init__(self) -> None:
        self._made = False

    def on_start(self, event: event.Event) -> None:
        if not self._made:
            print("compiling optical flow for this processor, for some seconds …", file=sys.stderr, flush=True)
            self._made = True

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", _Announcement())


def compiled(function: Callable) -> Callable:
    """Compiles a function of numbers and arrays at its first call, or loads what an earlier process has compiled.

    Where there is no folder to keep compiled code in (`NUMBA_CACHE_DIR`, else `__pycache__`, else the user's cache),
    each process compiles for itself. Division by zero gives infinity, as in NumPy.
    """
    try:
        return njit(function, cache=True, error_model="numpy")
    except RuntimeError:  # Numba found no folder that it can write to
        return njit(function, error_model="numpy")
