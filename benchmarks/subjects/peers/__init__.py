"""Other programs that make the same picture, driven as their users drive them."""
