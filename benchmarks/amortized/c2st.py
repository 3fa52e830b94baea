"""Can a classifier tell a network's draws, and refined ones, from those of converged NUTS with the exact likelihood?

usage: python benchmarks/amortized/c2st.py [jades_delayed] [--objects 200] [--draws 500]

Objects of the survey at known redshift. NUTS (NumPyro) runs four chains of each from refined draws, in the numbers that
the flow makes round (Hoffman et al. 2019, arXiv:1903.03704); objects whose R-hat is above 1.01 or whose effective draws
are fewer than 400 are counted, and shown apart. The classifier is a small network, three-fold; its accuracy on draws
that it was not trained on is 0.5 where there is nothing to tell. Of refined draws that are alike one is shown to it: it
would know the others again. So it judges where they lie, not how often each of them counts. Objects are kept as they
are done; run again to go on.
Prints a table and writes benchmarks/results/amortized_c2st.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import results
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from numpyro.infer.hmc import hmc

from scarlet_sed.amortized.assess import simulations
from scarlet_sed.amortized.context import Measured
from scarlet_sed.amortized.file import read_amortized
from scarlet_sed.amortized.posterior import target_of
from scarlet_sed.amortized.refine import refine
from scarlet_sed.amortized.survey import Survey
from scarlet_sed.files import atomic

CHAINS = 4
AT_ONCE = 5
WARMUP = 150
FOLDS = 3
BINS = ((1, 5), (5, 10), (10, 30), (30, np.inf))


def exact_draws(posterior: Any, measured: Measured, z: Any, begin: Any, keys: Any, draws: int):
    """(object, chain, draw, n) numbers of NUTS, which walks where the network's posterior is a round Gaussian. Traced.

    Also its places there, its leapfrog steps and whether it diverged.
    """
    bijection = posterior.networks.flow.bijection

    def generate(flux, sigma, present, z, summary):
        one = Measured(flux, sigma, present)

        def potential(place):
            numbers, stretched = bijection.transform_and_log_det(place, summary)
            values, volume = posterior.described.values(numbers, one, z)
            found = target_of(posterior, one, z, values, False) + volume + stretched
            return jnp.where(jnp.isfinite(found), -found, 1e10)

        return potential

    start, step = hmc(potential_fn_gen=generate, algo="NUTS")

    def chain(key, begin, *data):
        place = bijection.inverse(begin, data[-1])
        state = start(
            place, WARMUP, step_size=0.5, max_tree_depth=4, target_accept_prob=0.7, model_args=data, rng_key=key
        )

        def advance(state, _):
            new = step(state, data)
            return new, (new.z, new.num_steps, new.diverging)

        state, _ = jax.lax.scan(advance, state, None, length=WARMUP)
        places, steps, diverging = jax.lax.scan(advance, state, None, length=draws)[1]
        return jax.vmap(lambda u: bijection.transform(u, data[-1]))(places), places, steps, diverging

    summary = jax.vmap(posterior.networks.summary)(measured, z)
    data = (measured.flux, measured.sigma, measured.present, z, summary)
    return jax.vmap(jax.vmap(chain, (0, 0, *([None] * 5))))(keys, begin, *data)


@jax.jit
def accuracy(one: jax.Array, other: jax.Array, key: jax.Array) -> jax.Array:
    """Of a network of 48 and 48 units that tells (draw, n) one from other, three-fold."""
    x = jnp.concatenate([one, other])
    centre, scale = jnp.mean(other, axis=0), jnp.std(other, axis=0)
    x = (x - centre) / scale
    y = jnp.concatenate([jnp.zeros(len(one)), jnp.ones(len(other))])
    order = jax.random.permutation(key, len(y))
    x, y = x[order], y[order]
    fold = jnp.arange(len(y)) % FOLDS
    n = x.shape[1]
    optimizer = optax.adamw(5e-3, weight_decay=1e-2)

    def logits(weights, x):
        for matrix, bias in weights[:-1]:
            x = jax.nn.relu(x @ matrix + bias)
        return (x @ weights[-1][0] + weights[-1][1])[:, 0]

    def judged(number):
        use = (fold != number).astype(x.dtype)
        keys = jax.random.split(jax.random.fold_in(key, number), 3)
        weights = [
            (jax.random.normal(k, s) * np.sqrt(2 / s[0]), jnp.zeros(s[1]))
            for k, s in zip(keys, ((n, 48), (48, 48), (48, 1)), strict=True)
        ]

        def loss(weights):
            return jnp.sum(use * optax.sigmoid_binary_cross_entropy(logits(weights, x), y)) / jnp.sum(use)

        def step(carry, _):
            weights, state = carry
            updates, state = optimizer.update(jax.grad(loss)(weights), state, weights)
            return (optax.apply_updates(weights, updates), state), None

        (weights, _), _ = jax.lax.scan(step, (weights, optimizer.init(weights)), None, length=150)
        right = ((logits(weights, x) > 0) == (y > 0.5)).astype(x.dtype)
        return jnp.sum(right * (1 - use)) / jnp.sum(1 - use)

    return jnp.mean(jax.vmap(judged)(jnp.arange(FOLDS)))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("posterior", nargs="?", default="jades_delayed")
    parser.add_argument("--objects", type=int, default=200)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--keep", type=Path, default=Path("build/amortized/c2st.json"))
    options = parser.parse_args()
    posterior, record = read_amortized(options.posterior)
    made = simulations(posterior, Survey.of_plain(record["record"]["survey"]), options.objects, 31)
    trainings = [*record["record"]["before"], record["record"]]
    settings = {
        "posterior": str(options.posterior),
        "objects": options.objects,
        "draws": options.draws,
        "training": [own["training"][-1] if "training" in own else own["last"] for own in trainings],
        "refine": {n: p.default for n, p in signature(refine).parameters.items() if p.default is not p.empty},
    }
    kept = json.loads(options.keep.read_text()) if options.keep.exists() else {}
    rows: list[dict[str, Any]] = kept["rows"] if kept.get("settings") == settings else []
    run = eqx.filter_jit(partial(exact_draws, draws=options.draws))
    for first in range(len(rows), options.objects, AT_ONCE):
        part = slice(first, min(first + AT_ONCE, options.objects))
        count = part.stop - part.start
        flux, error, z = made.fluxes[part], made.errors[part], made.values["redshift"][part]
        start = time.process_time()
        better = refine(posterior, flux, error, z, seed=first)
        refined = time.process_time() - start
        network = posterior.sample(flux, error, z, draws=better.values[posterior.paths[0]].shape[1], seed=first + 1)
        measured = posterior.measured(flux, error)
        numbers = np.asarray(
            jax.jit(jax.vmap(lambda v, m, z: jax.vmap(lambda v: posterior.described.numbers_of(v, m, z)[0])(v)))(
                better.values, measured, jnp.asarray(z)
            ),
            np.float64,
        )
        rng = np.random.default_rng(first)
        begin = numbers[np.arange(count)[:, None], rng.integers(numbers.shape[1], size=(count, CHAINS))]
        keys = jax.random.split(jax.random.key(first), (count, CHAINS))
        as_float = partial(jnp.asarray, dtype=jnp.float32)
        start = time.process_time()
        exact, places, steps, diverging = (
            np.asarray(a, np.float64) for a in run(posterior, measured, as_float(z), as_float(begin), keys)
        )
        sampled = time.process_time() - start
        for i in range(count):
            rhat = float(np.max(split_gelman_rubin(places[i])))
            ess = float(np.min(effective_sample_size(places[i])))
            truth = exact[i].reshape(-1, exact.shape[-1])
            # steps that were not taken leave draws twice: a classifier would know them again
            different = np.unique(numbers[i], axis=0)
            size = min(len(different), len(truth) // 2)
            pick = np.linspace(0, len(truth) // 2 - 1, size).round().astype(int)
            told = [
                float(accuracy(as_float(one), as_float(truth[pick]), jax.random.key(first + i)))
                for one in (network.numbers[i][:size], rng.permutation(different)[:size], truth[pick + len(truth) // 2])
            ]
            rows.append(
                {
                    "signal": float(made.signal[first + i]),
                    "size": size,
                    "rhat": rhat,
                    "effective": ess,
                    "divergences": int(diverging[i].sum()),
                    "steps": float(np.mean(steps[i])),
                    "network": told[0],
                    "refined": told[1],
                    "same": told[2],
                    "importance": float(better.effective[i]),
                    "refined_seconds": refined / count,
                    "nuts_seconds": sampled / count,
                }
            )
        with atomic(options.keep) as temporary:
            temporary.write_text(json.dumps({"settings": settings, "rows": rows}))
        print(f"{len(rows)} of {options.objects}", flush=True)
    good = [row for row in rows if row["rhat"] < 1.01 and row["effective"] > 400]
    rest = [row for row in rows if row not in good]
    print(f"{len(good)} of {len(rows)} objects whose NUTS converged")
    found: dict[str, Any] = {"objects": len(rows), "converged": len(good), "load": os.getloadavg(), "bins": []}
    for kind, of in (("all", rows), ("converged", good), ("not converged", rest)):
        for low, high in ((0, np.inf), *BINS):
            own = [row for row in of if low <= row["signal"] < high]
            if own:
                each = {name: [row[name] for row in own] for name in ("network", "refined", "same")}
                medians = {name: float(np.median(v)) for name, v in each.items()}
                found["bins"].append({"kind": kind, "signal": (low, high), "n": len(own), **medians})
                print(
                    f"{kind}, S/N {low:g}-{high:g}, {len(own)} objects: network {medians['network']:.3f} (90 % below "
                    f"{np.quantile(each['network'], 0.9):.3f}), refined {medians['refined']:.3f} "
                    f"({np.quantile(each['refined'], 0.9):.3f}), NUTS against itself {medians['same']:.3f}"
                )
    results.write("amortized_c2st", {**found, "rows": rows})


if __name__ == "__main__":
    main()
