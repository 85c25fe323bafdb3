"""Training in an environment: learner, session, evaluation."""
