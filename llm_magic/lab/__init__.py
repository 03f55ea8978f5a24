"""Evaluation, simulation and training of the routing. No cell imports this package."""
