"""Photos with known cracks: a test of photo verdicts, and what the rule for photos is fitted on."""
