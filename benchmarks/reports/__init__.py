"""What a run found out: figures, the report, its table and plot, targets, and two reports beside each other."""
