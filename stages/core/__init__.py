"""Errors, paths and commands, which every package may use."""
