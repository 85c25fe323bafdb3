"""Two recurrent spiking networks, agent and model, that learn on line by rules local in space and time."""
