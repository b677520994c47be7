"""How properties are searched: without a stop-watch, since a busy machine is no mistake, and leaving no files."""

from hypothesis import settings

settings.register_profile("core", deadline=None, database=None, print_blob=True)
settings.load_profile("core")
