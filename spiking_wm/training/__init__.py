"""Learning in an environment: schedule, session, evaluation."""
