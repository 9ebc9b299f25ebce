"""Side by side with others: what vfwhooks costs, measured in private namespaces."""
