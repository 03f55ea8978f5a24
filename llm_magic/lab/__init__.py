"""Evaluation, simulation and training. Nothing on the path of a cell imports this package."""
