"""The neural emulator: features, networks, their weight file."""
