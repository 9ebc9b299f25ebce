"""Foreign DNAT rules: read, and never changed."""
