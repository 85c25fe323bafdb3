"""World models shared by several agents."""
