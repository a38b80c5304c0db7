"""Trainers: objectives × parameterizations that distill real data into packs, and what measures the result."""
