"""The starter checkpoint: a small painted world, and the training that teaches it.

It uses the engine's tokenizer, so that a prompt is read in training as it is later. Knows nothing of server/.
"""
