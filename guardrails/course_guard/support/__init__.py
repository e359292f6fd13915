"""The groundedness verifier: does the evidence support this sentence? Trained by finetune.guards.verifier, run by onnxruntime.

features.py finds the windows of the evidence that a claim may rest on and says what overlap makes of it, exact.py what numbers,
names, negations and directions make of it, encoder.py what a small cross-encoder reads in the windows. cascade.py turns all of
that into one probability and into citations, behind the Verifier protocol of course_guard.grounding.
"""
