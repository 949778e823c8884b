"""HTTP → jobs → engine → files. The only place for FastAPI, pydantic and SQL."""
