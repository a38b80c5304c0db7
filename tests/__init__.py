"""The tests. A package, so that worker processes import ``tests.support`` and no other project's ``tests``."""
