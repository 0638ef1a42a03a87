"""Figures from arrays, without torch, pyplot or file paths. Every function draws on a new figure and returns it."""
