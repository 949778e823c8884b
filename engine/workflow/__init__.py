"""What a caller wants, as a value: nodes, and the workflow that they make."""
