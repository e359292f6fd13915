"""Lectern's web page: Chainlit inside a FastAPI application of our own."""
