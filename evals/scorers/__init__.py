"""Numbers for one output, one file a family, each with the metrics that tasks report of it."""
