"""Base modules for all other packages: agent interface, options, files, errors."""
