"""One file per make target."""
