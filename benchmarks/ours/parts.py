"""Where an optimiser step goes: each part of the forward model alone, and with its gradient.

usage: python parts.py --kind free|sersic --n 128 --out result.json [--oversampling 2] [--canvas 256]

Parts are compiled by themselves, so that they add up only roughly to `all`.
`gradient` is value and gradient together, in the part's own inputs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import OUR_PACKAGES, jax, observe, simulated_sources, ss

from scarlet_sed.infer.paste import paste
from scarlet_sed.infer.posterior import constrain
from scarlet_sed.infer.program import Program

from blends import default_canvas, simulated_blend  # isort: skip
from measuring import installed_versions, machine, spread, write_report  # isort: skip

jnp = jax.numpy
Part = tuple[Callable[..., Any], tuple[Any, ...]]


def parts(program: Program, unconstrained: tuple[Any, ...]) -> dict[str, Part]:
    """A function of differentiable inputs, and these inputs, for each part of the first observation."""
    values = constrain(program, unconstrained)
    observation = program.observations[0]
    operator = observation.operator
    group = program.groups[0]
    drawn = program.stamps(values)
    stamps = drawn[0][0]
    fluxes = program.fluxes([light for _, *light in drawn], observation.filters)[0]
    canvas = paste(fluxes, stamps, group.offsets, operator.canvas_shape)
    image = operator(canvas)

    def whole(unconstrained: tuple[Any, ...]) -> jax.Array:
        values = constrain(program, unconstrained)
        return program.log_likelihood(values) + program.log_prior(values)

    return {
        "constrain": (lambda u: constrain(program, u), (unconstrained,)),
        "stamps": (lambda v: [drawn[0] for drawn in program.stamps(v)], (values,)),
        "paste": (lambda f, s: paste(f, s, group.offsets, operator.canvas_shape), (fluxes, stamps)),
        "operator": (operator.__call__, (canvas,)),
        "likelihood": (
            lambda i: observation.instrument.noise.log_likelihood(observation.data - i, observation.weights),
            (image,),
        ),
        "all": (whole, (unconstrained,)),
    }


def clock(function: Callable[..., Any], inputs: tuple[Any, ...], repeats: int) -> dict[str, float]:
    """Seconds of a compiled function."""
    run = jax.jit(function)
    jax.block_until_ready(run(*inputs))
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(run(*inputs))
        seconds.append(time.perf_counter() - begin)
    return spread(seconds)


def with_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of a sum of squares of what a function returns: one forward and one reverse pass."""

    def scalar(*inputs: Any) -> jax.Array:
        return sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(function(*inputs)))

    return lambda *inputs: jax.value_and_grad(lambda both: scalar(*both))(inputs)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every part, forward and with its gradient."""
    blend = simulated_blend(options.n, options.canvas or default_canvas(options.n))
    observation, frame = observe(blend, pixel_scale=1.0, oversampling=options.oversampling)
    scene = ss.Scene(simulated_sources(options.kind, blend, observation, frame), frame)
    posterior = ss.LogPosterior(scene, observation)
    found = parts(posterior.program, posterior.unconstrain(posterior.start))
    seconds = {
        name: {
            "forward": clock(function, inputs, options.repeats),
            "gradient": clock(with_gradient(function), inputs, options.repeats),
        }
        for name, (function, inputs) in found.items()
    }
    return {"seconds": seconds, "boxes": sorted({group.box for group in posterior.program.groups})}


def main() -> None:
    """Parse the command line, measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("free", "sersic"), required=True)
    parser.add_argument("--n", type=int, required=True, help="number of sources")
    parser.add_argument("--canvas", type=int, help="width in pixels (default: 128, or 256 above 16 sources)")
    parser.add_argument("--oversampling", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    scene = {"kind": options.kind, "sources": options.n, "oversampling": options.oversampling}
    header = {"script": "parts", "scene": scene, "machine": machine(), "versions": installed_versions(OUR_PACKAGES)}
    write_report(options.out, header | {"status": "ok"} | measure(options))


if __name__ == "__main__":
    main()
