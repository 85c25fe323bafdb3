"""PopSAN + TD3 + an ensemble of spiking world models with uncertainty-filtered dreaming."""
