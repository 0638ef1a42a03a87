"""The mixture of Gaussians: the domain whose truth is known."""
