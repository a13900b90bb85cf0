"""Scripts as processes: what they write is shown, and why they failed is known."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from workflow import processes
from workflow.processes import run_command


def script(text):
    return [sys.executable, "-c", text]


def test_success_has_no_reason_and_errors_are_shown(capsys):
    text = "import sys; print('12%', end='\\r', file=sys.stderr); print('é', file=sys.stderr)"
    assert run_command(script(text)) is None
    assert capsys.readouterr().err == "12%\ré\n"


def test_characters_that_come_in_pieces_are_whole(capsys):
    text = "import sys, time; write = sys.stderr.buffer.write; "
    text += "write(b'\\xe2\\x96'); time.sleep(0.3); write(b'\\x88')"
    assert run_command(script(text)) is None
    assert capsys.readouterr().err == "█"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "import sys; sys.stderr.write('50%\\rerror: no such file\\nWarning: x\\n'); sys.exit(2)",
            "no such file (exit status 2)",
        ),
        ("raise ValueError('odd')", "ValueError: odd (exit status 1)"),
        ("import sys; sys.exit(3)", "it said nothing (exit status 3)"),
        ("import os; os.kill(os.getpid(), 9)", "it said nothing (ended by SIGKILL)"),
    ],
)
def test_the_reason_of_a_failure(text, reason, capsys):
    assert run_command(script(text)) == reason


def test_the_process_is_told_how_wide_the_terminal_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "77")
    run_command(script("import os, sys; print(os.environ['COLUMNS'], file=sys.stderr)"))
    assert capsys.readouterr().err == "77\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_both(number, tmp_path):
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    child = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid()))"
    child += f"; os.kill(os.getppid(), {int(number)}); time.sleep(60)"
    pid = tmp_path / "pid"
    try:
        processes.raise_on_termination()
        with pytest.raises(KeyboardInterrupt):
            run_command([*script(child), str(pid)])
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_process_that_does_not_listen_is_ended(monkeypatch):
    monkeypatch.setattr(processes, "_PATIENCE", 0.2)
    before = signal.getsignal(signal.SIGTERM)
    child = "import os, signal, time; signal.signal(2, signal.SIG_IGN); os.kill(os.getppid(), 15); time.sleep(60)"
    try:
        processes.raise_on_termination()
        with pytest.raises(KeyboardInterrupt):
            run_command(script(child))
    finally:
        signal.signal(signal.SIGTERM, before)
