"""Benchmarks of llm_magic. Each figure is compared with a baseline measured in the same run: `make bench`."""
