"""The diagnoses behind status, doctor, explain and check; nothing is changed."""
