"""Is it any good? Cases with known answers, scorers and benchmarks."""
