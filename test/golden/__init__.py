"""What every algorithm gave before, to the bit."""
