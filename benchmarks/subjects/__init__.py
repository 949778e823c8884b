"""Whose speed is measured: the engine and its peers, each opened in a process of its own."""
