"""Networks, losses, noise, the bases that methods share, and the training loop."""
