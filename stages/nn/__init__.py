"""Networks, losses, noise sources, base classes of the methods, and the training loop."""
