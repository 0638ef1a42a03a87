"""Encoders of images and what their embeddings are measured by."""
