"""What every test of the workspace needs."""

import os

from hypothesis import settings

# Seeds are fixed, so that a failure is everybody's failure; two busy cores say nothing about deadlines.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")

# Test processes share two cores: one thread each. Read by BLAS and torch when they are first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
