"""AUTOMATIC1111's prompt language, from a text to the chunks that a text encoder takes.

``networks`` takes the tags of extra networks out, ``composition`` cuts a prompt at ``AND``, ``schedule`` says which
text counts when, ``emphasis`` weighs its words, ``chunks`` makes tokens of them. All but the last need no torch.
"""
