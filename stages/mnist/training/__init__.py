"""Training on images: batches, checkpoints, several processes."""
