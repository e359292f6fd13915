"""The course and what readers allow of their conversations -> rows to train on."""
