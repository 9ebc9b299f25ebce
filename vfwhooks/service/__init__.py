"""The hooks' side, and the service: its loop, what it listens to."""
