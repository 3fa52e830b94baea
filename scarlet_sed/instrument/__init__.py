"""Frame, PSF, observation, noise, and the operators between them; this room knows no scene."""
