"""Pictures from arrays: no torch, no pyplot, no path. Every function draws on a figure of its own and returns it."""
