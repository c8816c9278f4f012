"""The `.tegu` file: a zip of uncompressed members, written atomically, and verified member by member when read.

    manifest.json  meta.safetensors  adapt.onnx  predict.onnx  update.onnx  [manifest.sig]

There is no pickle, so reading executes nothing. There is no compression, so members do not grow; only parameters stored
as float16 or int8 become float32, at most four times as large (`tegu.core.compression.stored_parameters`).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from tegu.core.bundle import signing
from tegu.core.bundle.archive import BundleSource, read_members
from tegu.core.bundle.manifest import Manifest
from tegu.core.compression.precision import Precision
from tegu.core.compression.stored_parameters import pack_parameters, unpack_parameters
from tegu.core.data.batch import Array
from tegu.core.data.tree import Tree, digest
from tegu.core.errors import BundleError, FileError
from tegu.core.files import atomic_write

__all__ = [
    "GRAPHS",
    "MAX_BYTES",
    "Bundle",
    "BundleSource",
    "read_bundle",
    "sign_bundle",
    "tree_from_bytes",
    "tree_to_bytes",
    "write_bundle",
]

GRAPHS = ("adapt", "predict", "update")
MAX_BYTES = 1 << 30
_MANIFEST, _META, _SIGNATURE = "manifest.json", "meta.safetensors", "manifest.sig"
_REQUIRED = frozenset({_MANIFEST, _META, *(f"{name}.onnx" for name in GRAPHS)})
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time stamp, so that equal contents give equal files


@dataclass(frozen=True, repr=False)
class Bundle:
    """An initialisation with the graphs that adapt it.

    Attributes:
        manifest: description of graphs and arrays; writing fills in its `members`.
        meta: parameters that the server learned.
        graphs: serialised ONNX by name: `adapt`, `predict`, `update`.
    """

    manifest: Manifest
    meta: Tree
    graphs: Mapping[str, bytes]

    def __repr__(self) -> str:
        parameters = sum(array.size for array in self.meta.values())
        graphs = ", ".join(f"{name}: {len(graph)} bytes" for name, graph in self.graphs.items())
        learner, kind = self.manifest.learner, self.manifest.spec.kind
        return f"Bundle(learner={learner!r}, kind={kind!r}, parameters={parameters}, graphs=({graphs}))"

    @property
    def identity(self) -> str:
        """Sha256 over arrays and graphs. Equal exactly for bundles whose arrays and graphs are equal.

        Computed from the contents, because `manifest.members` is stale after `meta` was replaced.
        """
        graphs = _digests(self.graphs)
        return hashlib.sha256(
            "".join([digest(self.meta), *(f"{name}{graphs[name]}" for name in sorted(graphs))]).encode()
        ).hexdigest()


def tree_to_bytes(tree: Tree) -> bytes:
    """A tree as safetensors.

    Raises:
        BundleError: safetensors does not support a name or a dtype.
    """
    if "__metadata__" in tree:
        raise BundleError("a parameter is named '__metadata__', which safetensors reserves: rename it")
    try:
        return save_tensors({name: _contiguous(array) for name, array in tree.items()})
    except (SafetensorError, ValueError) as error:
        raise BundleError(
            f"safetensors cannot store the arrays ({error}): use real numbers and printable names"
        ) from error


def tree_from_bytes(data: bytes) -> Tree:
    """A tree from safetensors.

    Raises:
        BundleError: the bytes are not safetensors.
    """
    try:
        return load_tensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BundleError(f"the arrays are not readable safetensors ({error}): fetch the bundle again") from error


def write_bundle(
    path: str | Path, bundle: Bundle, private_key: bytes | None = None, precision: Precision = "float32"
) -> Bundle:
    """Write `bundle`. An existing file is replaced atomically.

    Args:
        path: the `.tegu` file.
        bundle: what to write.
        private_key: Ed25519 key of 32 bytes to sign with; None for no signature.
        precision: in which float32 parameters are stored. Reading restores float32, rounded.

    Returns:
        The bundle as `read_bundle` returns it: with digests, and with parameters as restored.

    Raises:
        BundleError: a graph is absent, a parameter cannot be stored, or the path cannot be written.
        DataError: float16 or int8 cannot represent a value of a parameter.
        SignatureError: the key is not an Ed25519 private key.
        UnknownNameError: no such precision.
    """
    if set(bundle.graphs) != set(GRAPHS):
        raise BundleError(f"the bundle has graphs {sorted(bundle.graphs)}: expected {sorted(GRAPHS)}")
    stored = pack_parameters(bundle.meta, precision)
    payload = {_META: tree_to_bytes(stored), **{f"{name}.onnx": bundle.graphs[name] for name in GRAPHS}}
    written = replace(
        bundle, manifest=replace(bundle.manifest, members=_digests(payload)), meta=unpack_parameters(stored)
    )
    manifest = written.manifest.to_json()
    members = {_MANIFEST: manifest, **payload}
    if private_key is not None:
        members[_SIGNATURE] = signing.sign(private_key, manifest)
    _write_members(Path(path), members)
    return written


def sign_bundle(source: BundleSource, path: str | Path, private_key: bytes) -> Bundle:
    """Write a bundle that exists with a signature, in place of another one that it may have. All else stays as it is.

    Args:
        source: as in `read_bundle`.
        path: the `.tegu` file to write, which may be the one that is read.
        private_key: Ed25519 key of 32 bytes.

    Raises:
        BundleError: the bundle cannot be read, or the path cannot be written.
        SignatureError: the key is not an Ed25519 private key.
    """
    members = read_members(source, MAX_BYTES, _REQUIRED, _SIGNATURE)
    bundle = _verified(members)
    _write_members(Path(path), {**members, _SIGNATURE: signing.sign(private_key, members[_MANIFEST])})
    return bundle


def _write_members(path: Path, members: Mapping[str, bytes]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    try:
        atomic_write(path, buffer.getvalue())
    except FileError as error:
        raise BundleError(str(error)) from error


def read_bundle(source: BundleSource, public_key: bytes | None = None, max_bytes: int = MAX_BYTES) -> Bundle:
    """Read and verify a bundle.

    Args:
        source: the path of a `.tegu` file, the file's bytes, or the file opened for reading bytes.
        public_key: Ed25519 key that must have signed the bundle; None for no check.
        max_bytes: larger files are refused before reading.

    Raises:
        BundleError: the file is absent, truncated, altered, oversized, of another version, or has unexpected members.
        SignatureError: the bundle is not signed with `public_key`.
    """
    members = read_members(source, max_bytes, _REQUIRED, _SIGNATURE)
    if public_key is not None:
        signing.verify(public_key, members[_MANIFEST], members.get(_SIGNATURE))
    return _verified(members)


def _verified(members: Mapping[str, bytes]) -> Bundle:
    manifest = Manifest.from_json(members[_MANIFEST])
    payload = {name: data for name, data in members.items() if name not in (_MANIFEST, _SIGNATURE)}
    for name, found in _digests(payload).items():
        expected = manifest.members.get(name)
        if found != expected:
            raise BundleError(f"{name} has sha256 {found}, but the manifest says {expected}: fetch the bundle again")
    meta = unpack_parameters(tree_from_bytes(payload[_META]))
    return Bundle(manifest, meta, {name: payload[f"{name}.onnx"] for name in GRAPHS})


def _digests(payload: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in payload.items()}


def _contiguous(array: Array) -> Array:
    # safetensors writes an array's memory in storage order, which is wrong for a transposed view.
    return array if array.flags.c_contiguous else array.copy(order="C")
