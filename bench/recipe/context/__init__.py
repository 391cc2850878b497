"""The full-length training: tiles beside crops with context, cut from scenes with known cracks."""
