"""What all rooms speak of: guests, protocols, marks, errors."""
