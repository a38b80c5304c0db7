"""Replay memories for continual learners: packs of past tasks within a budget of bytes, and loaders that rehearse them.

``memory.py`` has the class that users see, ``contents.py`` what a memory holds, ``intake.py`` how a pack is added,
``compatible.py`` which packs fit, ``budget.py`` what they cost, ``shrink.py`` which sources are dropped if they cost
too much, ``notes.py`` what the card records about the memory, ``units.py`` how budgets are written, and ``mix.py`` the
loader that mixes new data with rehearsal.
"""

from dsetpack.replay.memory import ReplayMemory
from dsetpack.replay.mix import MixedLoader

__all__ = ["MixedLoader", "ReplayMemory"]
