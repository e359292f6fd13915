"""What answers samples: the assistant on the user's course, its retrieval alone, or the assistant on given passages."""
