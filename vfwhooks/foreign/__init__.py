"""DNAT rules of others: read, and never changed."""
