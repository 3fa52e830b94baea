"""scarlet_sed: differentiable models of blended multi-band images, with the physics of each galaxy as parameters."""
