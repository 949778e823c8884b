"""The APIs that clients speak. Each package translates between its API and jobs, and none knows another."""
