"""forwards.yaml: from text to values, and the last good configuration."""
