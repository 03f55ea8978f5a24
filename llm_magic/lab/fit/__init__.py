"""Training of the classifier's heads, and their adaptation to recorded outcomes."""
