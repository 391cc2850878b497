"""Shared ground: durable writes, terminal and text, paths, pages, the machine."""
