"""Verdicts, tables and tolerances."""
