"""Logging of pipeline states to MLflow."""
