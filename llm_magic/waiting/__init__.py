"""Waiting for the hours in which a prompt costs less, and storage of what waits."""
