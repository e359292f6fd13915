"""Speed and retrieval benchmarks: each prints machine, versions, median and spread."""
