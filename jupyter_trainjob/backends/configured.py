"""What an operator says of every kind of backend, as traitlets, so that it is said in one way and once."""

from __future__ import annotations

from typing import Any

from traitlets import CaselessStrEnum, Dict, Float, HasTraits, List, TraitError, Unicode


def pip_options(whose: str) -> Dict[str, str]:
    """``whose``: over which others they go."""
    return Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        help="Options of pip for jobs' requirements, as in pip's configuration file: {'index-url': …}. They go over "
        f"those {whose}. Builds can read them, passwords too.",
    ).tag(config=True)


def environment_builds(default: str, says: str) -> CaselessStrEnum[Any]:
    """``says``: what wheels and source are here."""
    return CaselessStrEnum(
        ("none", "wheels", "source"),
        default,
        help=f"What jobs' requirements may bring. none: nothing. {says}",
    ).tag(config=True)


class BackendSettings(HasTraits):
    """Of a backend that builds environments, beside the above. Mixed into what is configurable by a name of its own."""

    r_repositories = List(
        Unicode(), help="Repositories that R packages come from, instead of those that an renv.lock names."
    ).tag(config=True)
    environments_disk = Unicode(
        "50Gi",
        help="What all environments may take together: beyond it the longest unused go, but none that a job needs.",
    ).tag(config=True)
    environments_days = Float(30.0, min=0, help="An environment that nobody used for so many days goes.").tag(
        config=True
    )

    def take(self, name: str, options: dict[str, Any]) -> None:
        """Replace traits by what ``TrainJobExtension.backends`` says of the backend ``name``. :class:`TraitError`."""
        known = self.trait_names(config=True)
        for option, value in options.items():
            if option not in known:
                raise TraitError(
                    f"TrainJobExtension.backends: {name!r} has the unknown option {option!r}; "
                    f"known: {', '.join(sorted(known))}"
                )
            setattr(self, option, value)
