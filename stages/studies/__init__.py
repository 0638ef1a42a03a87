"""Results that need many settings, outside the DAG."""
