"""The process that learns, beside the dreamer node; and what the two send each other."""
