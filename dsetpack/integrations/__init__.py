"""dsetpack in other frameworks: one file each, which needs that framework only when it is used."""
