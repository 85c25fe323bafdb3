"""World models that several agents dream in."""
