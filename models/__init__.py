"""Lists the checkpoints that exist and where they lie, and holds the small one that this project trains itself."""
