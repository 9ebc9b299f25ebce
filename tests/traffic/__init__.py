"""The acceptance matrix: every row of what people ask for, by real packets."""
