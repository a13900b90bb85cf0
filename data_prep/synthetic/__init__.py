"""Rendered data."""
