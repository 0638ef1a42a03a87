"""The pipeline as a whole: the stage graph, dvc.lock, scheduling, environment facts."""
