"""Traffic with other tools: a trace into their formats, and their recordings into a trace."""
