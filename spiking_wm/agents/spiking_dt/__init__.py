"""Decision transformers, spiking and not: from demonstrations, on line, and in dreams."""
