"""What a weights file holds, read without torch, without running anything in it, and in milliseconds."""
