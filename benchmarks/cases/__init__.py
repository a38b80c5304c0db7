"""What the commands measure: packs, settings, and the implementations that dsetpack is compared with."""
