"""The safety gate between a policy and the motors."""
