"""Distillation multiple choice learning for multimodal action recognition, in TensorFlow 2 and Keras."""

__version__ = "0.2.0"
