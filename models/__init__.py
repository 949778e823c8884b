"""Which checkpoints exist, where they lie, and the small one that this project trains itself."""
