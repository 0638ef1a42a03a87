"""What is measured in seconds: never a test, always compared as a ratio within one run (`python -m benchmarks`)."""

import stages  # noqa: F401  # before torch: it says how long a waiting thread spins
