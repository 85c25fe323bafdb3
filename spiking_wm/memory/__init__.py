"""What has been experienced, to learn from again."""
