"""The corruptions of ``dsetpack.trainers.data.corrupt``, one family a file, each listed in its ``CORRUPTIONS``."""
