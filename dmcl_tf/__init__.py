"""DMCL: distillation multiple choice learning for multimodal action recognition, in TensorFlow 2 and Keras."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up messages; failures raise all the same

__version__ = "0.1.0"
