"""The verbs of `./swm`."""
