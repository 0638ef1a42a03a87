"""Perturbations and subsets of images."""
