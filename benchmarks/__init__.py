"""What is measured in seconds: never a test, always compared as a ratio within one run."""
