"""Translated graphs kept between calls, in files named for all that they follow from.

The key is what the functions do: every operator that they run with its arguments, the bytes of every constant, the
types of the inputs, and the versions of all that translates (`executed`). Where that cannot be told, it is the recorded
graph. So a changed model is another key, whatever changed in it. A graph from the cache is still compared with torch.

The folder is `$TEGU_CACHE`, or `tegu/graphs` in the user's cache folder. `TEGU_CACHE=off` keeps nothing.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import torch
from torch import Tensor, fx
from torch.fx.node import _get_qualified_name

import tegu.core
import tegu.learners
from tegu.core.errors import CompileError, FileError
from tegu.core.files import atomic_write

if TYPE_CHECKING:
    from tegu.compile.tracing.capture import Captured

__all__ = ["CACHE_VARIABLE", "cached", "digest_of", "fingerprint", "is_kept", "learner_code"]

CACHE_VARIABLE = "TEGU_CACHE"
_MAX_FILES = 256  # a file holds tens to hundreds of kilobytes
_PACKAGES = ("torch", "onnx", "onnxscript", "onnx-ir", "numpy")
_HASH_BYTES = hashlib.sha256().digest_size

Models = dict[str, onnx.ModelProto]


def cached(key: str, make: Callable[[], Models]) -> Models:
    """The models under this key; if there are none, those that `make` returns, which are kept. So is a refusal.

    A file that is damaged, or that others may write, counts as absent. Where nothing can be written, nothing is kept.

    Raises:
        CompileError: `make` raised it, now or when the key was new.
    """
    folder = _folder()
    if folder is None:
        return make()
    file = folder / f"{key}.graphs"
    payload = _read(file)
    if payload is not None:
        return _unpacked(payload)
    try:
        made = make()
    except CompileError as error:
        _write(folder, file, _packed({}, str(error)))
        raise
    _write(folder, file, _packed(made))
    return made


def is_kept() -> bool:
    """Whether there is a folder to keep graphs in."""
    return _folder() is not None


def fingerprint(captured: Captured, inputs: Sequence[str]) -> str:
    """A digest of all that the translation of a captured graph depends on."""
    return digest_of([*inputs, "->", *captured.outputs, *_described(captured.module)])


def digest_of(parts: Iterable[str | bytes]) -> str:
    """A digest of the parts, and of the versions of all that translates."""
    digest = hashlib.sha256()
    for part in (_versions(), *parts):
        data = part if isinstance(part, bytes) else part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _described(module: fx.GraphModule) -> Iterator[str | bytes]:
    for node in module.graph.nodes:
        target = node.target if isinstance(node.target, str) else _get_qualified_name(node.target)
        yield f"{node.op} {node.name} {target} {node.args!r} {node.kwargs!r}"
        if node.op == "placeholder":
            value = node.meta["val"]
            yield f"{value.dtype} {tuple(value.shape)} {value.stride()}" if isinstance(value, Tensor) else repr(value)
        elif node.op == "get_attr":
            yield from _attribute(functools.reduce(getattr, node.target.split("."), module))


def _attribute(value: Any) -> Iterator[str | bytes]:
    if isinstance(value, fx.GraphModule):  # the body of a scan
        yield from _described(value)
        return
    constant = value.detach().contiguous()
    yield f"{constant.dtype} {tuple(constant.shape)} {value.stride()}"
    yield constant.reshape(-1).view(torch.uint8).numpy().tobytes()


@functools.cache
def _versions() -> str:
    """The versions of all that translates, this package's source included."""
    source = _source_digest(Path(__file__).parents[1])
    return " ".join([platform.python_version(), *(f"{name} {version(name)}" for name in _PACKAGES), source])


def learner_code() -> tuple[str, ...]:
    """Digests of the code that learners consist of, beside the compiler and the packages that the digest knows."""
    return tuple(_source_digest(Path(str(package.__file__)).parent) for package in (tegu.core, tegu.learners))


@functools.cache
def _source_digest(folder: Path) -> str:
    """A digest of all Python files in the folder."""
    source = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        source.update(file.read_bytes())
    return source.hexdigest()


def _folder() -> Path | None:
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return None if chosen == "off" else Path(chosen)
    with suppress(RuntimeError):  # no home folder
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tegu" / "graphs"
    return None


def _packed(models: Mapping[str, onnx.ModelProto], refusal: str = "") -> bytes:
    parts = {name: model.SerializeToString() for name, model in models.items()}
    header = {"refusal": refusal, "sizes": {name: len(data) for name, data in parts.items()}}
    return b"\n".join((json.dumps(header).encode(), b"".join(parts.values())))


def _unpacked(payload: bytes) -> Models:
    first, content = payload.split(b"\n", maxsplit=1)
    header = json.loads(first)
    if header["refusal"]:
        raise CompileError(header["refusal"])
    models, start = Models(), 0
    for name, size in header["sizes"].items():
        models[name] = onnx.load_model_from_string(content[start : start + size])
        start += size
    return models


def _write(folder: Path, file: Path, payload: bytes) -> None:
    with suppress(OSError, FileError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_write(file, hashlib.sha256(payload).digest() + payload, mode=0o600)
        _remove_oldest(folder)


def _read(file: Path) -> bytes | None:
    try:
        if not _is_own(file.stat()):
            return None
        data = file.read_bytes()
        if hashlib.sha256(data[_HASH_BYTES:]).digest() != data[:_HASH_BYTES]:
            return None
        os.utime(file)  # the oldest files are removed first
    except OSError:
        return None
    return data[_HASH_BYTES:]


def _is_own(status: os.stat_result) -> bool:
    # The hash is no signature: whoever can write the file can make it match.
    user = getattr(os, "geteuid", None)  # absent on Windows, whose modes do not describe other users
    private = user is None or (status.st_uid == user() and not status.st_mode & 0o022)
    return private and stat.S_ISREG(status.st_mode)


def _remove_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.graphs"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[_MAX_FILES:]:
        file.unlink(missing_ok=True)
