"""Traces with known truth: what is in them was put there, and the report is held to it."""
