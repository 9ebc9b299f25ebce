"""Foreign DNAT rules: read, and taken out only where they are named."""
