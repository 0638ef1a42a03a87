"""Decoders of phase 2."""
