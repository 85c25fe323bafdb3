"""What policies' networks run on: a folder each, found by its name, with ``Options`` and a ``Backend``."""
