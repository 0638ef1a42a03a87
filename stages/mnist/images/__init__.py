"""Transforms, augmentation and subsets of images."""
