"""Simulation of what routing costs and how well it answers, on recorded outcomes of real models."""
