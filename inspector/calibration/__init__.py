"""From logits to probabilities that mean something, and from probabilities to thresholds that keep
a promise: docs/explanation/calibration.md."""
