"""The `lectern` commands, one file per family; assistant/cli.py joins them."""
