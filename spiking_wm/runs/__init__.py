"""Run folders: configuration, checkpoints, policies, tables, reports."""
