"""The mixture and its networks."""
