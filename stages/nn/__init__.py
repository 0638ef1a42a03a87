"""Networks, draws and the one training loop."""
