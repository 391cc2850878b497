"""Experiments behind the documents: repeatable, not shipped."""
