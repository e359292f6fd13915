"""What the course says: documents, passages, the index and retrieval. Imports nothing else of Lectern."""
