"""What everything else stands on: agents' contract, options, files, errors."""
