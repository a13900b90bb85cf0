"""Renders skeletons into the layout of NW-UCLA: bodies of capsules, analytic ray casting, colour and depth."""

from data_prep.synthetic.rendering.clip import true_flow
from data_prep.synthetic.rendering.dataset import RenderSummary, describe, load_skeletons, render_demo, render_folder

__all__ = ["RenderSummary", "describe", "load_skeletons", "render_demo", "render_folder", "true_flow"]
