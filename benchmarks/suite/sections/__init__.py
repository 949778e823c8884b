"""The sections of a run: each module's ``run(bench, seconds)`` measures one thing within about ``seconds``.

It raises ``SkipSection`` if it cannot run here or does not fit into the time; figures that it has added stay.
"""
