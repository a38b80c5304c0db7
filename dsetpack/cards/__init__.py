"""Descriptions of a pack for people and catalogues, made from its header and manifest, without torch.

``facts`` checks every byte and gathers what a pack is, with all its digests. ``markdown`` turns that into a Hugging
Face dataset card, and ``croissant`` into Croissant 1.1 metadata as JSON-LD. ``described`` changes a card's texts.
"""

from dsetpack.cards.croissant import croissant
from dsetpack.cards.edit import described
from dsetpack.cards.facts import Facts, Preview, facts
from dsetpack.cards.markdown import markdown

__all__ = ["Facts", "Preview", "croissant", "described", "facts", "markdown"]
