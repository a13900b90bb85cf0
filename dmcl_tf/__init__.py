"""Distillation multiple choice learning for multimodal action recognition, in TensorFlow 2 and Keras."""

import os
import signal
import sys

__version__ = "0.2.0"

STOPPED = "stopped: the same command continues"

# TensorFlow leaves oneDNN off on x86 processors without AVX512-VNNI, where its convolutions make a training step two to
# three times as fast (benchmarks/environment.py). It reads the variable once, when it is loaded.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def end_at_once(number, frame):
    """Ends this process in one line at a signal; for as long as modules are imported and nothing is begun yet."""
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(128 + number)


if sys.argv[:1] == ["-m"]:  # a command of ours is about to be imported, which takes a second or more
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(_number) in (signal.SIG_DFL, signal.default_int_handler):  # else they are to be ignored
            signal.signal(_number, end_at_once)
