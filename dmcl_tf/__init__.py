"""Distillation multiple choice learning for multimodal action recognition, in TensorFlow 2 and Keras."""

import os

__version__ = "0.2.0"

# TensorFlow leaves oneDNN off on x86 processors without AVX512-VNNI, where its convolutions make a training step two to
# three times as fast (benchmarks/onednn.py). It reads the variable once, when it is loaded.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
