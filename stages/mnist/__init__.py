"""The pipeline's stages on images."""
