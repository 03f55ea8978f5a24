"""The embedded model: its weights, the engine process that runs it, and the provider."""
