"""Rulesets as they are saved or listed, read for people: who made a rule, and what it
does."""
