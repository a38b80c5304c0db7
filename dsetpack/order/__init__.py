"""The order of samples and the noise of generators: pure functions of (seed, epoch, position), without torch."""
