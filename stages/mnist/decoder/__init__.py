"""The decoders of phase 2."""
