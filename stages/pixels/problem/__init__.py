"""The mixture of Gaussians in pixel space."""
