"""Photos: which files are photos, what they say about themselves, and their pixels."""
