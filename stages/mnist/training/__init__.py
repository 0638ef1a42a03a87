"""Training on images: batches, checkpoints, distributed training."""
