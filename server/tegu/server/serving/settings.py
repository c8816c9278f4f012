"""The file that describes a federation, and the environment variables that override it.

    [server]                              TEGU_SERVER_ADDRESS, ...
    address = "federation.example:8000"
    [run]                                 TEGU_RUN_ROUNDS, ...
    bundle = "start.tegu"
    rounds = 3

`SETTINGS` documents every key. A key of `[run]` may also be any setting of a run configuration; see
`tegu.server.run_config`. A key of `[node]` may also be a demand of the node; see `DEMANDS`.
Below `[run]`, a list such as `calibration-ks = [1, 5]` and a table such as `outer-options = {weight_decay = 0.01}` may
be written as what they are.
Relative paths start at the file's folder.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tegu.core.errors import FederationError, UnknownNameError

__all__ = ["DEMANDS", "SETTINGS", "Federation", "Setting", "read_federation", "variable_name"]

_WEEK_SECONDS = 604800.0


class Setting(NamedTuple):
    """A key of the file.

    Attributes:
        section: the table that holds it.
        name: the key.
        default: its value where the file does not say it. None means that it must be said where it is needed.
        meaning: for people.
    """

    section: str
    name: str
    default: str | None
    meaning: str

    @property
    def is_path(self) -> bool:
        """Whether the value is a path, which starts at the file's folder."""
        return self.name not in ("address", "listen", "public-key", "mlflow")


SETTINGS = (
    Setting("server", "address", "127.0.0.1:8000", "where nodes reach the server: a host or an address, and a port"),
    Setting("server", "listen", "", "address of this machine to listen at, such as 0.0.0.0; empty for the one above"),
    Setting("server", "state", "state", "folder for Flower's database, the logs and what a node keeps"),
    Setting("tls", "ca", "keys/ca.crt", "certificate of the authority that signed the server's"),
    Setting("tls", "certificate", "keys/server.crt", "the server's certificate; only the server needs it"),
    Setting("tls", "key", "keys/server.key", "the private key of that certificate; only the server needs it"),
    Setting("run", "bundle", None, "the bundle to start from"),
    Setting("run", "out", "federated", "folder for the result, the records and the checkpoints"),
    Setting("run", "signing-key", "", "file with the key that signs the result; empty for no signature"),
    Setting("run", "tensorboard", "", "folder for TensorBoard's figures of every round; empty for none"),
    Setting("run", "mlflow", "", "address of MLflow's tracking server or store for the same figures; empty for none"),
    Setting("node", "key", "", "the node's private key"),
    Setting("node", "data", None, "file with the rows of the node's users, of `write_users`"),
    Setting("node", "bundle", None, "the same bundle as the server's"),
    Setting(
        "node",
        "bundle-source",
        "",
        "folder, or address with https://, from which a newer bundle is fetched; empty to sit such rounds out",
    ),
    Setting(
        "node",
        "public-key",
        "",
        "Ed25519 key in hexadecimal that must have signed what is fetched; empty for no check",
    ),
)
# What a node demands of every round, with the types of the values: `tegu.client.federation.minimums.Minimums`.
DEMANDS: Mapping[str, bool | int | float] = {
    "least-people": 0,
    "least-rows": 0,
    "least-evaluated": 0,
    "largest-clip": 1.0,
    "least-noise": 0.0,
    "most-candidates": 0,
    "trains": True,
    "evaluates": True,
}
_SECTIONS = tuple(dict.fromkeys(setting.section for setting in SETTINGS))


@dataclass(frozen=True)
class Federation:
    """What a file and the environment say.

    Attributes:
        path: of the file.
        values: every setting of `SETTINGS` by section and name. Paths are absolute, and an empty text stays empty.
        run_config: the settings of the run that are a run configuration's.
        demands: what the node demands of every round, of `DEMANDS`, as far as it is said.
    """

    path: Path
    values: Mapping[tuple[str, str], str | None]
    run_config: Mapping[str, Any]
    demands: Mapping[str, bool | int | float]

    def __repr__(self) -> str:
        return f"Federation({self.path}, {self.text('server', 'address')})"

    def text(self, section: str, name: str) -> str:
        """A setting.

        Raises:
            FederationError: neither the file nor the environment says it.
        """
        value = self.values[section, name]
        if value is None:
            raise FederationError(
                f"{self.path} does not say {name}: set it below [{section}], or {variable_name(section, name)}"
            )
        return value

    def file(self, section: str, name: str) -> Path:
        """A setting that is the path of a file that is there.

        Raises:
            FederationError: it is not said, or there is no such file.
        """
        path = Path(self.text(section, name))
        if not path.is_file():
            raise FederationError(
                f"[{section}] {name} of {self.path} is {path}, and there is no such file: make it, or correct the path"
            )
        return path

    def folder(self, section: str, name: str) -> Path:
        """A setting that is the path of a folder, which need not be there."""
        return Path(self.text(section, name))


def variable_name(section: str, name: str) -> str:
    """The environment variable that overrides a setting."""
    return f"TEGU_{section}_{name}".upper().replace("-", "_")


def read_federation(
    path: Path,
    known_run_settings: Mapping[str, Any] | None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[tuple[str, str], str] | None = None,
) -> Federation:
    """Read the file, and let the environment and then the command line override it.

    Args:
        path: a TOML file.
        known_run_settings: the settings of a run configuration with examples of their values, whose types tell how a
            variable is read. None leaves out those of the file and the environment: a node does not need them.
        environment: variables by name; None for those of this process.
        overrides: settings of the command line; a relative path starts at the current folder.

    Raises:
        FederationError: the file cannot be read, or a value has the wrong type.
        UnknownNameError: no such section or setting.
    """
    path = path.resolve()
    own = {(setting.section, setting.name): setting for setting in SETTINGS}
    like: dict[tuple[str, str], Any] = {("run", name): value for name, value in (known_run_settings or {}).items()}
    like |= {("node", name): value for name, value in DEMANDS.items()} | dict.fromkeys(own, "")
    variables = os.environ if environment is None else environment
    said = {**_from_file(path), **_from_environment(variables, like, known_run_settings is None)}
    more: dict[str, dict[str, Any]] = {"run": {"wait-seconds": _WEEK_SECONDS}, "node": {}}
    values: dict[tuple[str, str], str | None] = {place: setting.default for place, setting in own.items()}
    for (section, name), value in said.items():
        if (section, name) in own:
            values[section, name] = _checked_text(path, section, name, value)
        elif (section, name) in like:
            more[section][name] = value if section == "run" else _demand(path, name, value)
        elif section != "run" or known_run_settings is not None:
            raise UnknownNameError(
                f"setting in [{section}]", name, [known for place, known in like if place == section]
            )
    for place, setting in own.items():
        if (text := values[place]) and setting.is_path and "://" not in text:
            values[place] = str(path.parent / text)
    given = {place: str(Path(text).resolve()) for place, text in (overrides or {}).items()}
    return Federation(path, {**values, **given}, more["run"], more["node"])


def _from_file(path: Path) -> dict[tuple[str, str], Any]:
    """The file's values by section and name. A list becomes text with commas, and a table JSON."""
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FederationError(
            f"{path} cannot be read ({error}): expected a TOML file that describes the federation"
        ) from error
    found: dict[tuple[str, str], Any] = {}
    for section, table in said.items():
        if section not in _SECTIONS:
            raise UnknownNameError(f"section of {path.name}", section, _SECTIONS)
        if not isinstance(table, dict):
            raise FederationError(f"{section} in {path} is {table!r}: expected a table, which begins with [{section}]")
        for name, value in table.items():
            flat = ",".join(map(str, value)) if isinstance(value, list) else value
            found[section, name] = json.dumps(flat) if isinstance(flat, dict) else flat
    return found


def _from_environment(
    environment: Mapping[str, str], like: Mapping[tuple[str, str], Any], any_of_run: bool
) -> dict[tuple[str, str], Any]:
    """The values of the variables that are named as settings.

    Args:
        environment: variables by name.
        like: an example of each setting's value, by section and name.
        any_of_run: leave out variables of the run that are not known.

    Raises:
        UnknownNameError: a variable begins as they do, and there is no such setting.
        FederationError: a value has the wrong type.
    """
    names = {variable_name(*place): place for place in like}
    beginnings = [variable_name(section, "") for section in _SECTIONS if section != "run" or not any_of_run]
    found = {}
    for variable, text in environment.items():
        if variable in names:
            found[names[variable]] = _typed(variable, text, like[names[variable]])
        elif variable.startswith(tuple(beginnings)):
            raise UnknownNameError("environment variable of a federation", variable, names)
    return found


def _checked_text(path: Path, section: str, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise FederationError(f'[{section}] {name} of {path} is {value!r}: expected text, such as {name} = "..."')
    return value


def _demand(path: Path, name: str, value: Any) -> bool | int | float:
    """A demand of the node. A whole number is accepted as any number."""
    kind = type(DEMANDS[name])
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise FederationError(
            f"[node] {name} of {path} is {value!r}: expected a value such as {json.dumps(DEMANDS[name])}"
        )
    return kind(value)


def _typed(variable: str, text: str, like: Any) -> Any:
    """The value that a variable's text stands for: of the example's type."""
    if isinstance(like, str):
        return text
    try:
        if isinstance(like, bool):
            return {"true": True, "false": False}[text.lower()]
        return int(text) if isinstance(like, int) else float(text)
    except (KeyError, ValueError) as error:
        raise FederationError(f"{variable} is {text!r}: expected a value such as {json.dumps(like)}") from error
