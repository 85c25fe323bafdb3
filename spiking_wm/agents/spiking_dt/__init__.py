"""Decision transformers with and without spikes: trained on demonstrations, online, and in dreams."""
