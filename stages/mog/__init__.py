"""The mixture of Gaussians: the world whose truth is known."""
