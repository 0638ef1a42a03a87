"""Score-based methods on images: on a mixture of Gaussians in pixel space, whose truth is known, and on the images."""
