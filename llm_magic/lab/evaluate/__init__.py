"""Evaluation of the routing and of the classifier on recorded outcomes and labeled prompts. README.md explains it."""
