"""What the package offers to programs and notebooks, above what the command line needs."""
