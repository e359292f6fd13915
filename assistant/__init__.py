"""The course assistant: models, prompts, the path of one question, and the ways to ask it."""
