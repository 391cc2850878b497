"""Generated sample images; the prefix of a file name tells the truth about it."""
