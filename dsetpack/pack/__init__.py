"""The pack in memory: its parts, its pairs, and how its file is read and written."""
