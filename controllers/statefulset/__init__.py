"""StatefulSets: pods with a number, a name and an order."""
