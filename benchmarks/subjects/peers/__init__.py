"""Other programs that do the same job, driven as their users drive them. Each computes the same picture, or says so."""
