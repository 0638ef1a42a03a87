"""The mixture of Gaussians: the domain with an analytic truth."""
