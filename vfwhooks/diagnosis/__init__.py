"""What status, doctor, explain and check find out: it looks, and changes nothing."""
