"""The report: one HTML file with everything a person wants to look at after a fit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from astropy.table import QTable
from astropy.time import Time
from matplotlib.figure import Figure

import scarlet_sed.plot as plot
from scarlet_sed.infer.information import image_information
from scarlet_sed.infer.result import FitResult
from scarlet_sed.io.flags import Flag
from scarlet_sed.light import path_of
from scarlet_sed.plot.observed import layers_of
from scarlet_sed.plot.view import regrid
from scarlet_sed.report.goodness import BandGoodness, goodness_grid
from scarlet_sed.report.pictures import embed
from scarlet_sed.report.tables import Grid, bands_of, catalog_grid, seconds
from scarlet_sed.report.truth import Comparison
from scarlet_sed.scene.scene import Scene
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.start.populations import Populated
from scarlet_sed.typing import HostArray

MOST_CARDS = 40
"""Sources that get pictures of their own; further ones are in the table only."""


@dataclass(frozen=True)
class Content:
    """What a report shows.

    Args:
        title: of the page.
        fit: the result.
        catalog: as `io.catalog.build_catalog` makes it.
        goodness: by observation and band.
        warnings: sentences to read first.
        timings: seconds by stage.
        software: versions and the like.
        truth: the comparison with known sources, if there are any.
        populated: the photometry that populations started from, if there are any.
        config_text: the configuration file.
    """

    title: str
    fit: FitResult
    catalog: QTable
    goodness: Mapping[str, Mapping[str, BandGoodness]]
    warnings: Sequence[str] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)
    truth: Comparison | None = None
    populated: Populated | None = None
    config_text: str = ""


def field_figures(fit: FitResult) -> dict[str, Figure]:
    """Pictures of the whole field: "field" (data, model, residual in colour) and "residuals" (in sigma, by band)."""
    view = plot.make_view(layers_of(fit.scene.frame, fit.observations), fit.models)
    return {"field": plot.scene(view, _labels(view, fit.scene)), "residuals": plot.residual(residuals_of(fit))}


def render_report(content: Content, figures: Mapping[str, Figure] | None = None) -> str:
    """The report as HTML that needs no other file.

    Args:
        content: what it shows.
        figures: from `field_figures`, where they have been made already.
    """
    fit = content.fit
    layers = layers_of(fit.scene.frame, fit.observations)
    view = plot.make_view(layers, fit.models)
    figures = figures or field_figures(fit)
    pictures = {
        "scene": embed(figures["field"], 110),
        "residual": embed(figures["residuals"], 90),
        "histograms": embed(plot.residual_histograms(residuals_of(fit)), 90),
        "loss": embed(plot.loss(fit.loss), 90) if np.isfinite(fit.loss).any() else "",
    }
    cards = _cards(content, layers, view)
    sections = [("field", "Field"), ("residuals", "Residuals"), ("chi2", "Goodness of fit")]
    sections += [("truth", "Truth")] if content.truth else []
    sections += [("sources", "Sources"), ("catalogue", "Catalogue"), ("run", "Run")]
    return (
        environment()
        .get_template("template.html")
        .render(
            css=style(),
            title=content.title,
            subtitle=f"made by scarlet_sed on {Time.now().utc.strftime('%Y-%m-%d at %H:%M')} UTC",
            status={
                "name": fit.status.name.replace("_", " ").lower(),
                "advice": fit.status.advice,
                "good": fit.status.success,
            },
            warnings=content.warnings,
            facts=_facts(content, view),
            contents=sections,
            pictures=pictures,
            orientation=_orientation(fit.scene),
            chi2=goodness_grid(content.goodness),
            truth=content.truth and truth_section(content.truth, content.catalog),
            sources=cards,
            sources_left_out=max(len(fit.scene) - len(cards), 0),
            catalog=catalog_grid(content.catalog),
            timings=Grid(["stage", "time"], [[name, seconds(value)] for name, value in content.timings.items()]),
            software=Grid(["software", ""], [[name, value[:24]] for name, value in content.software.items()], 2),
            config_text=content.config_text,
        )
    )


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """Where templates come from; every value is escaped."""
    folder = files("scarlet_sed.report")
    loader = jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8"))
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)


def style() -> Any:
    """The style sheet, marked as safe to put into a page."""
    return jinja2.utils.markupsafe.Markup((files("scarlet_sed.report") / "style.css").read_text(encoding="utf-8"))


def residuals_of(fit: FitResult) -> dict[str, HostArray]:
    """Per band (H, W) residuals in units of the noise that the fit used, NaN where masked."""
    found = {}
    for o in fit.observations:
        weights = np.asarray(o.weights, dtype=float)
        ratio = (np.asarray(o.data, dtype=float) - fit.models[o.name]) * np.sqrt(weights)
        for band, values, weight in zip(o.filters.names, ratio, weights, strict=True):
            found[band if band not in found else f"{o.name} {band}"] = np.where(weight > 0, values, np.nan)
    return found


def _labels(view: plot.View, scene: Scene) -> dict[str, HostArray]:
    values = scene.values
    return {
        n: view.pixel(np.asarray(scene.frame.pixel(np.asarray(values[f"{n}.position"], float)))) for n in scene.sources
    }


def _cards(content: Content, layers: Mapping[str, plot.Layer], view: plot.View) -> list[dict[str, str]]:
    fit, catalog = content.fit, content.catalog
    bands = bands_of(catalog)
    brightness = np.sum([catalog[f"flux_{band}"].value for band in bands], axis=0)
    stretch = plot.Stretch.of(view.data, view.wavelengths)
    labels, images = _labels(view, fit.scene), fit.source_models()
    target = layers[min(layers, key=lambda name: layers[name].pixel_scale)]
    waves = np.concatenate([layer.wavelengths for layer in layers.values()])
    order = np.argsort(waves, kind="stable")
    known = {path.split(".")[0]: each for path, each in image_information(fit).items()}
    cards = []
    for row in np.argsort(-brightness)[:MOST_CARDS]:
        name = str(catalog["name"][row])
        parts = [regrid(layer, target, images[name][key]) for key, layer in layers.items()]
        own = np.concatenate(parts)[order]
        where = view.cutout(labels[name], _half_width(own, view, labels[name]))
        figure = plot.source(view, own, where, stretch=stretch)
        middle = bands[len(bands) // 2]
        own_image = known.get(name)
        flags = Flag(int(catalog["flags"][row])) & ~Flag.NOT_CONVERGED  # which is said once, at the top
        cards.append(
            {
                "name": name,
                "model": str(catalog["model"][row]),
                "image": embed(figure, 110),
                "summary": f"{middle} {catalog[f'mag_{middle}'][row].value:.2f} AB",
                "sed": _sed(content, name),
                "information": embed(plot.information(own_image), 90) if own_image else "",
                "physics": physics(catalog, int(row)),
                "prior": f"{own_image.share_of_light:.0%} of what is known of its image is the prior's"
                if own_image
                else "",
                "flag": flags.describe() if flags else "",
            }
        )
    return cards


def _sed(content: Content, name: str) -> str:
    """The picture of a source's spectrum, or nothing for one without a population."""
    made, fit = content.populated, content.fit
    if made is None or name not in made.flux:
        return ""
    components = {path_of(name, part): c for part, c in fit.scene.sources[name].components()}
    populations = tuple(c.spectrum for c in components.values() if isinstance(c.spectrum, StellarPopulation))
    if len(populations) < len(components):
        return ""
    names = {f"{name}.redshift": "redshift"}
    for number, path in enumerate(components):
        names |= {p: f"{number}.{p.removeprefix(f'{path}.spectrum.')}" for p in _below(fit, f"{path}.spectrum.")}
    gaussian = fit.gaussian(names)
    redshift = float(np.asarray(fit.scene.values[f"{name}.redshift"]))
    drawn = plot.Drawn(populations, redshift, None if gaussian is None else gaussian.renamed(names))
    truth = None if content.truth is None else content.truth.fluxes_of(name, content.catalog, made.filters.names)
    return embed(plot.sed(drawn, made.filters, made.flux[name], made.error[name], truth=truth), 90)


def truth_section(truth: Comparison, catalog: QTable) -> dict[str, Any]:
    """What the template needs of the comparison with the truth."""
    return {"summary": truth.summary(), "table": truth.grid(catalog), "physics": truth.physics_grid(catalog)}


def _below(fit: FitResult, prefix: str) -> Iterator[str]:
    return (path for path in fit.scene.parameters if path.startswith(prefix))


def physics(catalog: QTable, row: int) -> str:
    """A line with redshift, mass, A_V and star formation of a source with a population, else nothing."""
    if "log_mass" not in catalog.colnames or not np.isfinite(catalog["log_mass"][row]):
        return ""
    entries = (("z", "redshift"), ("log M", "log_mass"), ("A_V", "av"), ("log SFR", "log_sfr"))
    parts = []
    for label, name in entries:
        value, error = (float(getattr(catalog[n][row], "value", catalog[n][row])) for n in (name, f"{name}_error"))
        parts.append(f"{label} {value:.2f}" + (f" ± {error:.2f}" if np.isfinite(error) else " (given)"))
    return ", ".join(parts)


def _half_width(image: HostArray, view: plot.View, center: HostArray) -> float:
    """Half the side in pixels of a square that shows a source down to a third of the noise."""
    sigma = np.where(np.isfinite(view.sigma), view.sigma, np.nan)
    ratio = np.max(image / np.nanmedian(sigma, axis=(1, 2), keepdims=True), axis=0)
    rows, columns = np.nonzero(ratio > 0.33)
    least = 0.35 / view.pixel_scale
    if not rows.size:
        return least
    extent = np.percentile(np.maximum(np.abs(rows - center[1]), np.abs(columns - center[0])), 99)
    return float(np.clip(1.25 * extent, least, max(view.shape) / 2))


def _facts(content: Content, view: plot.View) -> list[tuple[str, str]]:
    fit = content.fit
    chi2 = [g.chi2_estimated for each in content.goodness.values() for g in each.values()]
    facts = [
        ("sources", str(len(fit.scene))),
        ("bands", ", ".join(view.bands)),
        ("free parameters", f"{sum(int(np.size(p.value)) for p in fit.scene.parameters.values()):,}"),
        ("χ² against estimated noise", f"{np.mean(chi2):.3f}"),
        ("steps", f"{fit.steps:,}"),
        ("compilations", str(fit.timing.compilations)),
    ]
    if content.timings:
        facts.append(("total time", seconds(content.timings.get("total", sum(content.timings.values())))))
    return facts


def _orientation(scene: Scene) -> str:
    (xe, xn), (ye, yn) = np.asarray(scene.frame.matrix)
    if abs(xn) < 1e-6 * abs(xe) and xe < 0 < yn and abs(ye) < 1e-6 * yn:
        return "North is up, east is left."
    angle = np.degrees(np.arctan2(xn, yn))
    return f"Pixel axes as in the finest image; north is {abs(angle):.0f}° {'right' if angle > 0 else 'left'} of up."
