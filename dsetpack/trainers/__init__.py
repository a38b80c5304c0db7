"""Trainers: objectives × parameterizations that distil real data into packs, and what measures the result."""
