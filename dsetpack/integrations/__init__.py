"""dsetpack in other frameworks: one module per framework, which is only needed when the module is used."""
