"""Decoding in processes that may die: from references to batches of pixels, in listing order."""
