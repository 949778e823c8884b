"""An API key for tests, and the setting that accepts it."""

import hashlib

KEY = "sd-alices-key"
KEYS = {"alice": hashlib.sha256(KEY.encode()).hexdigest()}
