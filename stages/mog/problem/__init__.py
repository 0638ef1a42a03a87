"""The mixture, its description and the evaluation protocol."""
