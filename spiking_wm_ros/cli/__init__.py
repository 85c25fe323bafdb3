"""The commands of `./swm`."""
