"""Recording kernel events."""
