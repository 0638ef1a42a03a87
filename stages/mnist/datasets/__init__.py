"""The sources of the images."""
