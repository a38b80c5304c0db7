"""Descriptions of a pack for people and catalogues, made from its header and manifest; never torch.

``facts`` gathers what a pack is and all its digests, after every byte was checked; ``markdown`` makes a Hugging Face
dataset card of that, and ``croissant`` Croissant 1.1 metadata as JSON-LD.
"""

from dsetpack.cards.croissant import croissant
from dsetpack.cards.facts import Facts, facts
from dsetpack.cards.markdown import markdown

__all__ = ["Facts", "croissant", "facts", "markdown"]
