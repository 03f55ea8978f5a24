"""What llm_magic costs in time, each figure beside a peer or a floor of the same run: `make bench`."""
