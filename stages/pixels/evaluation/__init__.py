"""Samples, likelihoods and image quality."""
