"""Turning feedback into a better model. Imports from assistant/ and below, never the other way."""
