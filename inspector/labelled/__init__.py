"""Labelled photos: folders, group files, reviewed photos, and leaks between splits."""
