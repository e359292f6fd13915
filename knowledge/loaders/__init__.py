"""One file per family of formats; each turns bytes into a Document with its structure and offsets."""
