"""Encoders of images and the evaluation of their embeddings."""
