"""Talking with the course: what hears, what speaks, and the turns between them. Needs the extra `voice`."""
