"""Backend ``host``: the policy runs its own network."""
