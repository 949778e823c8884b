"""How things are measured: requests and their times, callers, clocks, memory, and what the numbers say."""
