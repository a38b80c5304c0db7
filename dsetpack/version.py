"""The version of the package, in a module of its own: a wing may name it without importing the face."""

__version__ = "0.1.0"
