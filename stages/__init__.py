"""The stages of the pipeline and what they are made of."""

import os

# How often a waiting OpenMP thread looks before it sleeps. By default it spins for milliseconds, and with another busy
# process on the machine a training takes ten times as long. Read when torch loads its library, so it is set before.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
