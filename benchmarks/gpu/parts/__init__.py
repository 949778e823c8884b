"""What a run measures, one module for a part: ``run(bench)`` returns what it found as JSON has it."""
