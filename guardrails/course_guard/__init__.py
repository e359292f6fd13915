"""Checks around the model: what may be asked, and which sentences of an answer may be shown."""
