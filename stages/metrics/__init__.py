"""Metrics, one module per question about a trained model."""
