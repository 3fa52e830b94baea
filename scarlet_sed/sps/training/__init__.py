"""Training of the neural emulator: draws, targets, the loop, its evaluation."""
