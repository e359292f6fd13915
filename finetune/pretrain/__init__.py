"""A small language model from nothing but the course's text: the working twin of lesson 26, "Building a language model".

Read it in the order of that lesson: data.py, tokens.py, model.py, loop.py, baselines.py, sample.py; run.py joins them.
"""
