"""Optical flow between consecutive frames, and its encoding as three-channel images. Pure functions."""
