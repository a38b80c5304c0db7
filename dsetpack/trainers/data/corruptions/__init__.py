"""The corruptions of ``dsetpack.trainers.data.corrupt``: one file per family, which lists them in ``CORRUPTIONS``."""
