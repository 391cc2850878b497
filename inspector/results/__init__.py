"""The result table on disk: written by a scan, read by report, review, verify and training."""
