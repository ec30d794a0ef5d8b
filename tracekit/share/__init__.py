"""Traces for others: a smaller one, one without secrets, and one file that has all that a bug report needs."""
