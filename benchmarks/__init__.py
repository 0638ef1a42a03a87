"""Benchmarks of run time, as ratios within one run (`python -m benchmarks`). No test asserts a time."""

import stages  # noqa: F401  # before torch: sets how long a waiting thread spins
