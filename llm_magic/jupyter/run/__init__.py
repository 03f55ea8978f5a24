"""Run requests from a notebook: in the foreground, in the background, or side by side."""
