"""The tables of README.md and docs/results.md, rendered from ``benchmarks/results``."""
