"""Studies: grids of params outside the DAG."""
