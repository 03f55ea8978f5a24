"""Parse the magics and hand them to the router."""
