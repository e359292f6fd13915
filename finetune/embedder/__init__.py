"""The embedder tuned on the course: questions, hard negatives, training, a gate on the new index, promotion, the way back."""
