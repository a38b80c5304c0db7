"""What comes when, and which noise: pure functions of (seed, epoch, position). Never torch."""
