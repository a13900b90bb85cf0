"""Stages as processes: how they end is known, and none is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import stage_functions

from dmcl_tf.errors import Stopped, Terminated, explain, held_back, raise_on_termination
from workflow.processes import Failure, call

TESTS = Path(__file__).parent
MEMORY = "there is not enough memory; use a smaller --batch_size, fewer --workers or --clips, or --recompute"


@pytest.mark.parametrize(
    ("how", "failure", "said"),
    [
        ("well", None, ""),
        ("bad input", Failure("clip.avi: expected a video", 2), "error: clip.avi: expected a video\n"),
        ("fault", Failure("ValueError: odd", 1), "ValueError: odd\n"),
        ("long fault", Failure("ValueError: " + "odd" * 10**6, 1), "ValueError: odd"),  # more than a pipe holds
        ("memory", Failure(MEMORY, 2), f"error: {MEMORY}\n"),
        ("exit", Failure("exit status 3", 3), ""),
        ("not loaded", Failure("ended by status 127, perhaps for lack of memory", 127), "error: ended by status 127"),
        ("killed", Failure("ended by SIGKILL, perhaps for lack of memory", 137), "error: ended by SIGKILL"),
    ],
)
def test_how_a_process_ended(how, failure, said, capfd):
    assert call(stage_functions.end, how) == failure
    errors = capfd.readouterr().err
    assert said in errors
    assert ("Traceback" in errors) == how.endswith("fault")


def test_a_process_that_stops_in_good_order_stops_what_would_follow(capfd):
    with pytest.raises(Stopped, match=r"^stopped after step 3; the same command continues$") as stopped:
        call(stage_functions.end, "stopped")
    assert capfd.readouterr().err == ""  # the command says it, once
    assert explain(stopped.value) == (str(stopped.value), 0)


# Sends the signal from within, as soon as a module that is slow to import is asked for
INTERRUPTED = """
import os, runpy, sys

class Interrupting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == slow:
            os.kill(os.getpid(), number)

number, slow, module = int(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.meta_path.insert(0, Interrupting)
sys.argv = ["-m", *sys.argv[4:]]
sys.path.insert(0, os.getcwd())
import importlib
importlib.import_module(module.partition(".")[0])
sys.argv[0] = module
runpy.run_module(module, run_name="__main__", alter_sys=False)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "slow"),
    [("workflow", "msgspec"), ("workflow", "tqdm"), ("dmcl_tf.train", "pandas"), ("data_prep.make_tfrecords", "cv2")],
)
def test_signals_during_imports_end_in_one_line(number, module, slow):
    command = [sys.executable, "-c", INTERRUPTED, str(int(number)), slow, module, "experiments", "--dry_run"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=TESTS.parent,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )
    assert (done.returncode, done.stderr) == (128 + number, "stopped: the same command continues\n")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_stage_ends_with_the_command_that_started_it(tmp_path, number, status):
    script = "import sys; sys.path.insert(0, sys.argv[2])\n"
    script += "from dmcl_tf.errors import ending_in_one_line, raise_on_termination\n"
    script += "from workflow.processes import call\nimport stage_functions\n"
    script += "if __name__ == '__main__':\n raise_on_termination()\n with ending_in_one_line():\n"
    script += "  call(stage_functions.wait, sys.argv[1])\n"
    (tmp_path / "command.py").write_text(script)
    pid = tmp_path / "pid"
    command = subprocess.Popen(
        [sys.executable, str(tmp_path / "command.py"), str(pid), str(TESTS)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )
    limit = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()):
        assert time.monotonic() < limit
        time.sleep(0.02)
    command.send_signal(number)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == status
    assert errors == ("" if number == signal.SIGKILL else "stopped: the same command continues\n")
    while Path(f"/proc/{pid.read_text()}").exists() and time.monotonic() < limit:
        time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_held_back_comes_at_the_end_although_another_thread_lets_it_through(number):
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {each: signal.getsignal(each) for each in numbers}
    over, steps = threading.Event(), []

    def hold():
        with held_back(number):
            os.kill(os.getpid(), number)
            for _ in range(100):
                time.sleep(0.001)  # Python looks for signals here
            steps.append("within")

    threading.Thread(target=over.wait, daemon=True).start()  # it blocks nothing
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise_on_termination()
        with pytest.raises(Terminated) as stopped:
            hold()
        assert stopped.value.number == number
        assert steps == ["within"]
        with held_back(number):
            pass  # the signal came once
    finally:
        over.set()
        for each, handler in before.items():
            signal.signal(each, handler)


SENT = """
import gc, multiprocessing
from dmcl_tf.errors import send
def stop(data):
    raise KeyboardInterrupt
connection, _ = multiprocessing.Pipe()
connection._send = stop  # in the middle of sending, as a signal would
def begin():
    try:
        send(connection, [1, 2])
    except KeyboardInterrupt as error:
        error.itself = error  # collected with all that its frames hold
begin()
gc.collect()
print("well")
"""


def test_a_signal_while_something_is_sent_does_not_crash_python():
    done = subprocess.run([sys.executable, "-c", SENT], capture_output=True, text=True, check=False, cwd=TESTS.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "well\n", "")
