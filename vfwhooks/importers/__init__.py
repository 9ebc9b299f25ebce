"""Readers of other tools' forwards, and forwards.yaml made from them."""
