"""Train the classifier heads and adapt them to recorded outcomes."""
