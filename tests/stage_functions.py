"""What processes of the tests run: functions of a module, so that another process finds them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from dmcl_tf.errors import InputError, Stopped


def end(how: str) -> None:
    """Ends as asked."""
    if how == "bad input":
        raise InputError("clip.avi: expected a video")
    if how == "fault":
        raise ValueError("odd")
    if how == "long fault":
        raise ValueError("odd" * 10**6)
    if how == "exit":
        sys.exit(3)
    if how == "stopped":
        raise Stopped("stopped after step 3; the same command continues")
    if how == "memory":
        np.ones(2**50)
    if how == "not loaded":
        os._exit(127)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)


def wait(pid: str) -> None:
    """Writes its process id and waits to be stopped."""
    Path(pid).write_text(str(os.getpid()))
    time.sleep(120)
