"""Runs a script as a process of its own, shows what it writes, and ends it when this one is told to stop."""

from __future__ import annotations

import codecs
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence

_TAIL = 2**14  # characters at the end of standard error in which the reason of a failure is looked for
_PATIENCE = 10  # seconds that a process gets to stop by itself


def raise_on_termination() -> None:
    """Lets SIGTERM and SIGHUP end this process as Ctrl-C does, so that it can end what it started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number, frame):
    raise KeyboardInterrupt


def run_command(command: Sequence[str]) -> str | None:
    """Runs a command to its end; returns the reason of its failure, None for success.

    Its standard error goes through this process, which keeps the end. A terminal's Ctrl-C reaches both processes; the
    command is ended by a signal where it does not stop by itself.
    """
    size = shutil.get_terminal_size()
    environment = {**os.environ, "COLUMNS": str(size.columns), "LINES": str(size.lines)}  # its bar sees no terminal
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a read can end within a character
    tail = ""
    try:
        while chunk := os.read(process.stderr.fileno(), 2**16):
            text = decoder.decode(chunk)
            tail = (tail + text)[-_TAIL:]
            sys.stderr.write(text)
            sys.stderr.flush()
        status = process.wait()
    except KeyboardInterrupt:
        _stop(process)
        raise
    finally:
        process.stderr.close()
    return _reason(status, tail) if status else None


def _stop(process: subprocess.Popen) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process.send_signal(number)
        try:
            process.communicate(timeout=_PATIENCE)
            return
        except subprocess.TimeoutExpired:
            continue


def _reason(status: int, errors: str) -> str:
    """The script's own error, or the last line it wrote."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", errors) if line.strip()]
    stated = [line for line in lines if line.startswith("error: ")]
    last = (stated or lines or ["it said nothing"])[-1]
    ended = f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    return f"{last.removeprefix('error: ')} ({ended})"
