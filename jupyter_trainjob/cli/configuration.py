"""The server's configuration, read as a server reads it, without starting one: for ``deploy`` and ``doctor``."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_core.application import JupyterApp
from traitlets import TraitError
from traitlets.config import Config, Configurable

from ..api.serve import FileIdentityProvider
from ..app import TrainJobExtension
from ..backends.kubernetes.configured import KubernetesBackendSettings
from ..backends.kubernetes.deploy.configured import KubernetesDeploySettings
from ..backends.kubernetes.deploy.settings import DeploySettings
from ..backends.kubernetes.settings import KubernetesSettings, SettingsError
from ..config import LocalBackendSettings, ObjectStoreSettings, SchedulingSettings
from ..resources.volumes import AllowedVolume
from ..verbs.parser import did_you_mean

if TYPE_CHECKING:
    from ..backends.kubernetes.deploy.plan import Plan
    from ..storage.s3 import S3Store

OURS: tuple[type[Configurable], ...] = (
    TrainJobExtension,
    ObjectStoreSettings,
    SchedulingSettings,
    LocalBackendSettings,
    KubernetesBackendSettings,
    KubernetesDeploySettings,
)


class ConfigurationError(Exception):
    """The configuration can't be used. The text says what to change."""


class _Reader(JupyterApp):
    """Finds ``jupyter_server_config`` as a server does."""

    name = "jupyter-server"
    description = ""
    classes = [*OURS, FileIdentityProvider]  # noqa: RUF012 - traitlets' way
    raise_config_file_errors = True


class Configuration:
    """What a server with this configuration would do."""

    def __init__(self, file: str = "", words: Sequence[str] = ()) -> None:
        """``file``: instead of those that Jupyter finds. ``words``: options as ``--Class.trait=value``, which go first.

        Raises :class:`ConfigurationError`.
        """
        reader = _Reader()
        if file and not Path(file).is_file():
            raise ConfigurationError(f"There is no file {file!r}.")
        try:
            reader.parse_command_line([*words])
            given = Config(reader.config)
            if file:
                reader.config_file = str(Path(file).absolute())
            reader.load_config_file(suppress_errors=False)
            reader.update_config(given)
        except Exception as error:  # whatever a file written in Python raises
            raise ConfigurationError(f"The configuration can't be read: {error}") from error
        self.config = reader.config
        for cls in OURS:
            self._check(cls)
        try:
            self.extension = TrainJobExtension(parent=reader)
            self.store_settings = ObjectStoreSettings(parent=self.extension)
            self.deploy_settings = KubernetesDeploySettings(parent=self.extension)
        except TraitError as error:
            raise ConfigurationError(f"The configuration can't be used: {error}") from error

    def _check(self, cls: type[Configurable]) -> None:
        known = cls.class_trait_names(config=True)
        for name in self.config.get(cls.__name__, {}):
            if name not in known:
                raise ConfigurationError(f"{cls.__name__} has no option {name!r}." + did_you_mean(name, known))

    @property
    def data_dir(self) -> Path:
        """The server's folder."""
        return Path(self.extension.data_dir)

    def backends(self, kind: str) -> list[str]:
        """The names of the backends of this type."""
        return [name for name, options in self.extension.backends.items() if options.get("type", "local") == kind]

    def cluster(self, name: str = "") -> tuple[str, KubernetesSettings]:
        """The backend called ``name``, or the only one in a cluster. Raises :class:`ConfigurationError`."""
        names = self.backends("kubernetes")
        if not names:
            raise ConfigurationError(
                "No backend of the type kubernetes is configured. One line does it: "
                'c.TrainJobExtension.backends = {"cluster": {"type": "kubernetes"}}'
            )
        if name and name not in names:
            raise ConfigurationError(
                f"There is no backend {name!r} of the type kubernetes." + did_you_mean(name, names)
            )
        if not name and len(names) > 1:
            raise ConfigurationError(
                f"Several backends are of the type kubernetes: say --backend {' or '.join(names)}."
            )
        chosen = name or names[0]
        made = KubernetesBackendSettings(parent=self.extension)
        options = {key: value for key, value in self.extension.backends[chosen].items() if key != "type"}
        try:
            made.make(chosen, options)
            return chosen, made.settings()
        except (TraitError, SettingsError, OSError) as error:
            raise ConfigurationError(str(error)) from error

    def deploy(self, *, examined: bool = False) -> DeploySettings:
        """``examined``: what is there already, which some other configuration may have made, so that the service's
        image need not be known. Raises :class:`ConfigurationError`.
        """
        try:
            return self.deploy_settings.settings(without_service=examined and not self.deploy_settings.service_image)
        except SettingsError as error:
            raise ConfigurationError(str(error)) from error

    def bucket(self) -> S3Store:
        """The object store that ``ObjectStoreSettings.url`` names; asks no server. :class:`ConfigurationError`."""
        from ..storage.s3 import S3Store

        try:
            made = self.store_settings.make(self.data_dir)
        except (TraitError, OSError) as error:
            raise ConfigurationError(str(error)) from error
        assert isinstance(made, S3Store)
        return made

    @property
    def pods_url(self) -> str:
        """``http(s)://host:port`` of the object store, as pods see it. Raises :class:`ConfigurationError`."""
        settings = self.store_settings
        if not settings.url:
            raise ConfigurationError(
                "Jobs in a cluster need an object store: set ObjectStoreSettings.url, such as "
                "s3+https://minio.example.org:9000/jobs/ml-2026."
            )
        if settings.pod_url:
            return settings.pod_url.rstrip("/")
        scheme, _, rest = settings.url.partition("://")
        return f"{scheme.removeprefix('s3+')}://{rest.partition('/')[0]}"

    def plan(self, name: str = "", shares: Sequence[AllowedVolume] = (), *, examined: bool = False) -> Plan:
        """All that ``deploy`` makes. Looks the store's name up. Raises :class:`ConfigurationError`, and
        ``ModuleNotFoundError`` without the extra ``kubernetes``.
        """
        from ..backends.kubernetes.deploy.bounds import StorePlace, index_places, index_urls
        from ..backends.kubernetes.deploy.plan import Plan
        from ..backends.kubernetes.deploy.service import PODS_CA, STORE_CA, configuration

        backend, settings = self.cluster(name)
        deploy, store = self.deploy(examined=examined), StorePlace.of(self.pods_url)
        if store.named and not deploy.store_peers and not store.namespace:
            store = StorePlace.of(self.pods_url, _addresses(store.host))
        below = self.store_settings.url.partition("://")[2].partition("/")[2]
        files = {}
        if self.store_settings.ca_file:
            files[STORE_CA] = _text(self.store_settings.ca_file)
        if settings.store_ca:
            files[PODS_CA] = settings.store_ca
        data = configuration(
            self.given(), backend, settings, deploy, files, store_url=f"s3+{self.pods_url}/{below}".rstrip("/")
        )
        indexes = () if deploy.index_peers else index_places(index_urls(settings), _addresses)
        return Plan(settings, deploy, store, data, tuple(shares), indexes)

    def given(self) -> dict[str, dict[str, Any]]:
        """Class → trait → value, of all that somebody set, as the classes understand it."""
        found: dict[str, dict[str, Any]] = {}
        made: list[Configurable] = [
            self.extension,
            self.store_settings,
            KubernetesBackendSettings(parent=self.extension),
        ]
        for one in made:
            name = type(one).__name__
            found[name] = {trait: getattr(one, trait) for trait in self.config.get(name, {})}
        return found


def _addresses(host: str) -> list[str]:
    try:
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        return Path(path).expanduser().read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path!r} can't be read: {error.strerror}.") from error
