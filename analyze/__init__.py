"""Working out what a recording means."""
