"""The networks as the engine runs them: the checkpoint's weights, its own order of operations."""
