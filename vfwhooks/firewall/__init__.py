"""The two backends, and the rules of ours that they change."""
