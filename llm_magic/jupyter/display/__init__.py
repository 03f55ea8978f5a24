"""Widgets, static output and terminal output for runs and comparisons."""
