"""Values that all rooms use: guests, protocols, marks, errors."""
