"""The shipped recipes as tables: their names, what they say about training on a set, and all their settings.

``dsetpack.trainers.recipe`` turns a table into a validated recipe. Nothing here imports torch.
"""
