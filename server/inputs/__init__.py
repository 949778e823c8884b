"""Pictures that callers hand in: kept by the SHA-256 of their bytes, for as long as a job needs them."""
