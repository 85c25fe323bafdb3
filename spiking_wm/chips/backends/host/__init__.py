"""Where the node itself computes: nothing to be done."""
