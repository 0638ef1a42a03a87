"""Figures to beat."""

KNN = 0.9901
"""Accuracy, macro precision, recall and F1 of a k-NN with k = 5 on MNIST's test images."""
