"""The metrics of a method on the mixture, one file per group of metrics in reports/metrics/mog/METHOD.json."""
