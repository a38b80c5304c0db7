"""Straightforward implementations, as one would write them without dsetpack."""
