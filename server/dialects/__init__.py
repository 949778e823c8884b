"""The APIs that clients speak. Each module only translates to and from jobs; none knows another."""
