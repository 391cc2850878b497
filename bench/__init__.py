"""Backends compared: the engine alone and the whole way from file to row."""
