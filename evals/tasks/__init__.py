"""One short file a task or family; each defines TASKS, which evals/running/registry.py finds."""
