"""Figures to beat."""

MNIST_TEST = "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
"""The sha256 of MNIST's test images as an idx file: what else is called MNIST has no figure to beat."""

KNN = 0.9901
"""Accuracy, macro precision, recall and F1 of a k-NN with k = 5 on MNIST's test images."""
