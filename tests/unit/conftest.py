"""Settings of the tests that need neither kernel nor command line."""

from hypothesis import settings

# On a busy machine a slow example says nothing about the code.
settings.register_profile("tracekit", deadline=None)
settings.load_profile("tracekit")
