"""Mean intergalactic absorption in the Lyman series: Inoue et al. 2014, MNRAS 442, 1805, section 4.1 and table 2.

All in numpy, float64, on the host. Absorption of the Lyman continuum is left out: galaxies emit nothing there.
"""

import numpy as np

from scarlet_sed.typing import HostArray

# line in Angstrom; coefficients of the Lyman alpha forest in three ranges, of damped Lyman alpha systems in two
TABLE_2 = np.array(
    [
        (1215.67, 1.690e-02, 2.354e-03, 1.026e-04, 1.617e-04, 5.390e-05),
        (1025.72, 4.692e-03, 6.536e-04, 2.849e-05, 1.545e-04, 5.151e-05),
        (972.537, 2.239e-03, 3.119e-04, 1.360e-05, 1.498e-04, 4.992e-05),
        (949.743, 1.319e-03, 1.837e-04, 8.010e-06, 1.460e-04, 4.868e-05),
        (937.803, 8.707e-04, 1.213e-04, 5.287e-06, 1.429e-04, 4.763e-05),
        (930.748, 6.178e-04, 8.606e-05, 3.752e-06, 1.402e-04, 4.672e-05),
        (926.226, 4.609e-04, 6.421e-05, 2.799e-06, 1.377e-04, 4.590e-05),
        (923.15, 3.569e-04, 4.971e-05, 2.167e-06, 1.355e-04, 4.516e-05),
        (920.963, 2.843e-04, 3.960e-05, 1.726e-06, 1.335e-04, 4.448e-05),
        (919.352, 2.318e-04, 3.229e-05, 1.407e-06, 1.316e-04, 4.385e-05),
        (918.129, 1.923e-04, 2.679e-05, 1.168e-06, 1.298e-04, 4.326e-05),
        (917.181, 1.622e-04, 2.259e-05, 9.847e-07, 1.281e-04, 4.271e-05),
        (916.429, 1.385e-04, 1.929e-05, 8.410e-07, 1.265e-04, 4.218e-05),
        (915.824, 1.196e-04, 1.666e-05, 7.263e-07, 1.250e-04, 4.168e-05),
        (915.329, 1.043e-04, 1.453e-05, 6.334e-07, 1.236e-04, 4.120e-05),
        (914.919, 9.174e-05, 1.278e-05, 5.571e-07, 1.222e-04, 4.075e-05),
        (914.576, 8.128e-05, 1.132e-05, 4.936e-07, 1.209e-04, 4.031e-05),
        (914.286, 7.251e-05, 1.010e-05, 4.403e-07, 1.197e-04, 3.989e-05),
        (914.039, 6.505e-05, 9.062e-06, 3.950e-07, 1.185e-04, 3.949e-05),
        (913.826, 5.868e-05, 8.174e-06, 3.563e-07, 1.173e-04, 3.910e-05),
        (913.641, 5.319e-05, 7.409e-06, 3.230e-07, 1.162e-04, 3.872e-05),
        (913.48, 4.843e-05, 6.746e-06, 2.941e-07, 1.151e-04, 3.836e-05),
        (913.339, 4.427e-05, 6.167e-06, 2.689e-07, 1.140e-04, 3.800e-05),
        (913.215, 4.063e-05, 5.660e-06, 2.467e-07, 1.130e-04, 3.766e-05),
        (913.104, 3.738e-05, 5.207e-06, 2.270e-07, 1.120e-04, 3.732e-05),
        (913.006, 3.454e-05, 4.811e-06, 2.097e-07, 1.110e-04, 3.700e-05),
        (912.918, 3.199e-05, 4.456e-06, 1.943e-07, 1.101e-04, 3.668e-05),
        (912.839, 2.971e-05, 4.139e-06, 1.804e-07, 1.091e-04, 3.637e-05),
        (912.768, 2.766e-05, 3.853e-06, 1.680e-07, 1.082e-04, 3.607e-05),
        (912.703, 2.582e-05, 3.596e-06, 1.568e-07, 1.073e-04, 3.578e-05),
        (912.645, 2.415e-05, 3.364e-06, 1.466e-07, 1.065e-04, 3.549e-05),
        (912.592, 2.263e-05, 3.153e-06, 1.375e-07, 1.056e-04, 3.521e-05),
        (912.543, 2.126e-05, 2.961e-06, 1.291e-07, 1.048e-04, 3.493e-05),
        (912.499, 2.000e-05, 2.785e-06, 1.214e-07, 1.040e-04, 3.466e-05),
        (912.458, 1.885e-05, 2.625e-06, 1.145e-07, 1.032e-04, 3.440e-05),
        (912.42, 1.779e-05, 2.479e-06, 1.080e-07, 1.024e-04, 3.414e-05),
        (912.385, 1.682e-05, 2.343e-06, 1.022e-07, 1.017e-04, 3.389e-05),
        (912.353, 1.593e-05, 2.219e-06, 9.673e-08, 1.009e-04, 3.364e-05),
        (912.324, 1.510e-05, 2.103e-06, 9.169e-08, 1.002e-04, 3.339e-05),
    ]
)
LINES: HostArray = TABLE_2[:, 0]
"""Rest-frame wavelengths in Angstrom of the 39 lines from Lyman alpha on."""

# per population: upper ends of the ranges of observed over line wavelength, and the power of that ratio in each
_FOREST = ((2.2, 5.7, np.inf), (1.2, 3.7, 5.5))  # equation 21
_DAMPED = ((3.0, np.inf), (2.0, 3.0))  # equation 22


def line_absorption(line: int, log_ratio: HostArray) -> HostArray:
    """Mean optical depth of the gas that absorbs in one line (equations 21 and 22), wherever the source is beyond it.

    Args:
        line: index into `LINES`.
        log_ratio: ln(observed wavelength / wavelength of the line), any shape; zero or less means no gas.

    Returns:
        optical depth, of that shape.
    """
    depth = np.zeros_like(log_ratio)
    at = 1
    for ends, powers in (_FOREST, _DAMPED):
        low = 0.0
        for end, power in zip(np.log(ends), powers, strict=True):
            inside = (log_ratio > low) & (log_ratio <= end)
            depth[inside] += TABLE_2[line, at] * np.exp(power * log_ratio[inside])
            low, at = end, at + 1
    return depth
