"""Trainers: objectives × parameterizations that distill real data into packs, and the tools that measure packs."""
