"""The hooks' client and the service: its loop, its news, its children."""
