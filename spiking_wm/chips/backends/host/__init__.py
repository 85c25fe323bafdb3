"""The host: the policy runs its own network."""
