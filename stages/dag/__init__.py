"""What is known of the pipeline as a whole: dvc.lock, the graph, the machine."""
