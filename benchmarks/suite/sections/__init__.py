"""What is measured: each module's ``run(bench, seconds)`` measures one thing, within about so many seconds.

Raises ``SkipSection`` where it makes no sense or does not fit. What it measured before stays in the report.
"""
