"""dsetpack: the container, the runtime and the trainers for distilled datasets."""
