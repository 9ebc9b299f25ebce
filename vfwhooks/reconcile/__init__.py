"""From events to what the kernel holds: the one use case."""
