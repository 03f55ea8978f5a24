"""Render runs, comparisons, plans and tables as HTML, Markdown and plain text."""
