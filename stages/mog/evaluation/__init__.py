"""What is measured of a method on the mixture, one file per group of metrics."""
