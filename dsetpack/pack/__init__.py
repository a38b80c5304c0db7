"""The pack in memory: its parts, its pairs, and what is read from and written to its file."""
