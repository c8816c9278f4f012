"""The `.tegu` file: a zip of stored members, written whole or not at all, verified member by member when read.

    manifest.json  meta.safetensors  adapt.onnx  predict.onnx  update.onnx  [manifest.sig]

No pickle and no compression: nothing is run while reading, and nothing grows but parameters stored in fewer bytes than
float32, at most fourfold; see `stored_meta`.
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
    "read_bundle",
    "tree_from_bytes",
    "tree_to_bytes",
    "write_bundle",
]

GRAPHS = ("adapt", "predict", "update")
MAX_BYTES = 1 << 30

_MANIFEST, _META, _SIGNATURE = "manifest.json", "meta.safetensors", "manifest.sig"
_REQUIRED = frozenset({_MANIFEST, _META, *(f"{name}.onnx" for name in GRAPHS)})
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time stamp: equal contents give equal files


@dataclass(frozen=True)
class Bundle:
    """An initialisation and the graphs that adapt it.

    Attributes:
        manifest: what a device must know; its `members` are filled in on writing.
        meta: what the server learned.
        graphs: serialised ONNX by name: `adapt`, `predict`, `update`.
    """

    manifest: Manifest
    meta: Tree
    graphs: Mapping[str, bytes]

    @property
    def identity(self) -> str:
        """Sha256 over arrays and graphs: equal exactly when both are.

        Taken from them, not from `manifest.members`, which are stale where `meta` was replaced by a newer one.
        """
        graphs = _digests(self.graphs)
        return hashlib.sha256(
            "".join([digest(self.meta), *(f"{name}{graphs[name]}" for name in sorted(graphs))]).encode()
        ).hexdigest()


def tree_to_bytes(tree: Tree) -> bytes:
    """A tree as safetensors.

    Raises:
        BundleError: a name or a dtype that safetensors does not have.
    """
    if "__metadata__" in tree:
        raise BundleError("a parameter is named '__metadata__', which safetensors keeps to itself: rename it")
    try:
        return save_tensors({name: _contiguous(array) for name, array in tree.items()})
    except (SafetensorError, ValueError) as error:
        raise BundleError(
            f"the arrays do not fit safetensors ({error}): use real numbers and printable names"
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
    """Write `bundle`; an existing file is replaced in one step.

    Args:
        path: the `.tegu` file.
        bundle: what to write.
        private_key: Ed25519, 32 bytes, to sign with; None for no signature.
        precision: what float32 parameters are stored as; a reader has float32 again, rounded.

    Returns:
        The bundle as a reader will see it: digests filled in, parameters as they are restored.

    Raises:
        BundleError: a graph is missing, a parameter that cannot be stored, or the path cannot be written.
        DataError: a parameter with a value that float16 or int8 cannot hold.
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
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    try:
        atomic_write(Path(path), buffer.getvalue())
    except FileError as error:
        raise BundleError(str(error)) from error
    return written


def read_bundle(path: str | Path, public_key: bytes | None = None, max_bytes: int = MAX_BYTES) -> Bundle:
    """Read and verify a bundle.

    Args:
        path: the `.tegu` file.
        public_key: where given, the bundle must carry this key's signature.
        max_bytes: refuse a larger file before reading it.

    Raises:
        BundleError: absent, truncated, altered, oversized, of another version, or with unexpected members.
        SignatureError: no signature, or not by `public_key`.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise BundleError(
                f"{path} has {size} bytes, more than the {max_bytes} allowed: raise max_bytes if it is yours"
            )
        with zipfile.ZipFile(path) as archive:
            members = _read_members(archive, size)
    except OSError as error:
        raise BundleError(
            f"cannot read {path} ({error.strerror or error}): check the path, or fetch it again"
        ) from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BundleError(f"{path} is truncated or not a bundle ({error}): fetch it again") from error
    if public_key is not None:
        signing.verify(public_key, members[_MANIFEST], members.get(_SIGNATURE))
    return _verified(members)


def _read_members(archive: zipfile.ZipFile, size: int) -> dict[str, bytes]:
    infos = archive.infolist()
    names = [info.filename for info in infos]
    unexpected = sorted(set(names) - _REQUIRED - {_SIGNATURE})
    missing = sorted(_REQUIRED - set(names))
    if unexpected or missing or len(names) != len(set(names)):
        raise BundleError(
            f"unexpected members {unexpected}, missing {missing}, found {names}: "
            "this is not a bundle; write one with write_bundle"
        )
    compressed = [info.filename for info in infos if info.compress_type != zipfile.ZIP_STORED]
    if compressed:
        raise BundleError(f"{compressed} compressed: bundles hold stored members only; write it with write_bundle")
    claimed = sum(info.file_size for info in infos)
    if claimed > size:
        raise BundleError(f"the members claim {claimed} bytes, the file has {size}: fetch the bundle again")
    return {name: archive.read(name) for name in names}


def _verified(members: Mapping[str, bytes]) -> Bundle:
    manifest = Manifest.from_json(members[_MANIFEST])
    payload = {name: data for name, data in members.items() if name not in (_MANIFEST, _SIGNATURE)}
    for name, found in _digests(payload).items():
        expected = manifest.members.get(name)
        if found != expected:
            raise BundleError(f"{name} has sha256 {found}, the manifest says {expected}: fetch the bundle again")
    meta = unpack_parameters(tree_from_bytes(payload[_META]))
    return Bundle(manifest, meta, {name: payload[f"{name}.onnx"] for name in GRAPHS})


def _digests(payload: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in payload.items()}


def _contiguous(array: Array) -> Array:
    # safetensors writes an array's memory as it lies, which is wrong for a transposed view.
    return array if array.flags.c_contiguous else array.copy(order="C")
