"""The state directory, and what is kept there."""
