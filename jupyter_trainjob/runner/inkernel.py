"""Runs inside the Python kernel. Its source is sent there, so it may use the standard library and IPython only.

Streams do not go over the kernel's messages but straight into the pipe that is its stdout and stderr. So nothing that
was printed is lost when the kernel dies, bytes stay as they are, a job that prints faster than anyone reads is held
back, and what subprocesses print falls into its place. What is stderr and where displayed objects belong is told by
marks in the same pipe: ``MARK + b"e"`` and ``MARK + b"o"`` switch streams, ``MARK + b"d<number>;"`` stands before what
message ``number`` shows. ``MARK`` is random and known to runner and kernel only.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import importlib.util
import io
import json
import logging
import os
import platform
import random
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, cast

_ATOMIC = 4096  # a pipe takes as much in one piece
_MARKED = frozenset(
    [
        "display_data",
        "execute_result",
        "update_display_data",
        "error",
        "clear_output",
        "stream",
        "comm_open",
        "comm_msg",
        "comm_close",
    ]
)
_above = {"read": 0, "run": 0}
"""How many empty lines stood above the code that was read last, and above that of the running cell."""


class _Raw(io.RawIOBase):
    """Descriptor 1 or 2 without a buffer; what is written was written when the call returns."""

    def __init__(self, fd: int, mark: bytes, pipe: tuple[int, int]) -> None:
        self._fd, self._mark, self._pipe = fd, mark, pipe

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        if self._fd == 2 and _identity(2) == self._pipe:
            step = _ATOMIC - 2 * len(self._mark) - 2
            for start in range(0, size, step):
                _write(2, self._mark + b"e" + view[start : start + step] + self._mark + b"o")
        else:
            _write(self._fd, view)
        return size


class _Text(io.TextIOWrapper):
    """A text stream as ipykernel expects it."""

    def set_parent(self, parent: Any) -> None:
        """All output is the running cell's: there is one at a time."""

    @property
    def parent_header(self) -> dict[str, Any]:
        shell = _shell()
        return dict(shell.parent_header) if shell is not None else {}


def install(mark: bytes, no_input: str, seed: int | None = None) -> None:
    """Take over streams, ``input`` and ``exit``; called once, before the user's code."""
    shell = _shell()
    kernel = shell.kernel
    if sys.modules.get("debugpy", kernel) is None:
        del sys.modules["debugpy"]  # it was kept from loading at the start; the code may want it
    private = os.dup(1)  # marks go here even where the code redirects descriptor 1
    pipe = _identity(private)
    codecs.register_error("trainjob", _as_bytes)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for name, fd in (("stdout", 1), ("stderr", 2)):
        raw: Any = _Raw(fd, mark, pipe)
        text = _Text(raw, encoding="utf-8", errors="trainjob", newline="", write_through=True)
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
        setattr(kernel, f"_{name}", text)
    _mark_messages(kernel, mark, private)
    _never_drop(kernel)
    _close_quietly(kernel)
    _refuse_input(kernel, no_input)
    _exit_as_in_a_script(shell)
    _number_all_lines(shell)
    _failures_fail(shell)
    if seed is not None:
        _seed(seed)


def _number_all_lines(shell: Any) -> None:
    """IPython drops the empty lines above a cell's code and numbers the rest without them; here they count."""

    def look(lines: list[str]) -> list[str]:
        _above["read"] = next((number for number, line in enumerate(lines) if not line.isspace()), 0)
        return lines

    shell.input_transformers_cleanup.insert(0, look)
    shell.input_transformers_post.append(lambda lines: ["\n"] * _above["read"] + lines)
    shell.events.register("pre_run_cell", lambda info: _above.update(run=_above["read"]))


def as_script(name: str, folder: str, source: str) -> None:
    """By :mod:`.inscript`, whose path is ``source``."""
    _load(source)["as_script"](_shell(), name, folder)


def adopt(values: dict[str, str], seed: int | None) -> None:
    """The job is known now, for which this kernel was started before."""
    os.environ.update(values)
    if seed is not None:
        _seed(seed)


def preload(names: list[str]) -> None:
    """Import what jobs are likely to import. One that fails does so again in the job, where it is told."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _mark_messages(kernel: Any, mark: bytes, fd: int) -> None:
    session, lock, numbers, pid = kernel.session, threading.Lock(), iter(range(1, sys.maxsize)), os.getpid()
    send = session.send

    def marked(stream: Any, msg_or_type: Any, *args: Any, **kwargs: Any) -> Any:
        type_ = msg_or_type["header"]["msg_type"] if isinstance(msg_or_type, dict) else msg_or_type
        if type_ not in _MARKED or os.getpid() != pid:
            return send(stream, msg_or_type, *args, **kwargs)
        with lock:
            number = next(numbers)
            if isinstance(msg_or_type, dict):
                told = {**(msg_or_type.get("metadata") or {}), "trainjob_mark": number}
                msg_or_type = {**msg_or_type, "metadata": told}
            elif len(args) < 7:
                kwargs["metadata"] = {**(kwargs.get("metadata") or {}), "trainjob_mark": number}
            else:
                return send(stream, msg_or_type, *args, **kwargs)
            _write(fd, mark + b"d%d;" % number)
            return send(stream, msg_or_type, *args, **kwargs)

    session.send = marked


def _never_drop(kernel: Any) -> None:
    """Make the kernel wait where it would drop messages because the runner is slower."""
    import zmq

    thread = getattr(kernel, "iopub_thread", None)
    if thread is not None:
        thread.schedule(lambda: thread.socket.setsockopt(zmq.XPUB_NODROP, 1))


def _close_quietly(kernel: Any) -> None:
    """Nothing of what is printed while the kernel closes its sockets, last of all, is the code's.

    libzmq may be closed in one thread while another still polls, and then says so on descriptor 2 and aborts.
    """
    close = getattr(kernel.parent, "close", None)
    if close is None:
        return
    atexit.unregister(close)

    @atexit.register
    def quietly() -> None:
        kept = os.dup(1), os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            for fd in (1, 2):
                os.dup2(nowhere, fd)
            with contextlib.suppress(Exception):  # nor is its failure
                close()
        finally:
            for fd, old in zip((1, 2), kept, strict=True):
                os.dup2(old, fd)


def _refuse_input(kernel: Any, text: str) -> None:
    from IPython.core.error import StdinNotImplementedError

    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise StdinNotImplementedError(text)

    kernel.raw_input = refuse
    kernel.getpass = refuse


def _exit_as_in_a_script(shell: Any) -> None:
    """``exit()`` and ``quit()`` do what ``sys.exit()`` does. Alone in a cell they need no parentheses."""
    from IPython.core.autocall import IPyAutocall

    class Exit(IPyAutocall):
        rewrite = False

        def __call__(self, code: Any = None) -> None:
            raise SystemExit(code)

    leave: Any = cast(Any, Exit)()
    leave.set_ip(shell)
    for name in ("exit", "quit"):
        shell.user_ns[name] = shell.user_ns_hidden[name] = leave
    warnings.filterwarnings("ignore", message="To exit: use 'exit', 'quit', or Ctrl-D.")
    show = shell.showtraceback

    def showtraceback(*args: Any, **kwargs: Any) -> None:
        error = sys.exc_info()[1]
        if not (isinstance(error, SystemExit) and error.code in (None, 0, False)):  # the job ends well: nothing to tell
            show(*args, **kwargs)

    shell.showtraceback = showtraceback


def _failures_fail(shell: Any) -> None:
    """What magics show as an error and then swallow (``%%time`` of IPython 8, ``%run``) fails the cell."""
    cell_magic, line_magic = shell.run_cell_magic, shell.run_line_magic

    def run_cell_magic(name: str, line: str, cell: str) -> Any:
        return (honest(cell_magic, shell) if name == "time" else cell_magic)(name, line, cell)

    def run_line_magic(name: str, line: str, _stack_depth: int = 1) -> Any:
        if name in ("time", "run"):
            return honest(line_magic, shell)(name, line, _stack_depth=_stack_depth + 2)  # two frames are ours
        return line_magic(name, line, _stack_depth=_stack_depth + 1)

    shell.run_cell_magic, shell.run_line_magic = run_cell_magic, run_line_magic


def honest(magic: Any, shell: Any) -> Any:
    """``magic``, but an exception that it would only show is raised instead, once it is over."""

    def run(*args: Any, **kwargs: Any) -> Any:
        shown: list[BaseException] = []
        show = shell.showtraceback

        def instead(*args: Any, **kwargs: Any) -> None:
            error, frame = sys.exc_info()[1], sys._getframe(1)
            if error is None or frame.f_globals.get("__name__", "").partition(".")[0] != "IPython":
                show(*args, **kwargs)  # the code itself shows an error that it has dealt with
            else:
                shown.append(error)

        shell.showtraceback = instead
        try:
            value = magic(*args, **kwargs)
        finally:
            shell.showtraceback = show
        if shown:
            raise shown[0]
        return value

    return run


def _seed(seed: int) -> None:
    """Let ``random`` begin there, and NumPy's global generator when it is imported (now would cost its import)."""
    random.seed(seed)
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed(seed)
    else:
        sys.meta_path.insert(0, _SeedsNumPy(seed))


class _SeedsNumPy:
    """Finds ``numpy.random`` as all others would, and seeds it right behind its import."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "numpy.random":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader: Any = spec.loader if spec is not None else None
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                module.seed(self._seed)

            loader.exec_module = exec_module
        return spec


def receive(path: str, names: list[str], made_by: str, form: str = "cloudpickle", reader: str = "") -> None:
    """Bring variables into the user's namespace: pickled ones, or a ``frame`` or ``json`` that ``reader`` reads."""
    if form != "cloudpickle":
        _shell().push({names[0]: _read(path, names[0], form, reader)}, interactive=True)
        return
    import pickle

    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    skew = f" They were pickled by Python {made_by}, this is {here}." if made_by and made_by != here else ""
    try:
        with Path(path).open("rb") as file:
            values = pickle.load(file)  # noqa: S301 - the owner's own, in the owner's own job
    except Exception as error:
        raise RuntimeError(
            f"The variables {', '.join(names)} can't be unpickled here: {type(error).__name__}: {error}.{skew} Install "
            "what they need in the job's environment, or send their data in a file."
        ) from error
    _shell().push({name: values[name] for name in names}, interactive=True)


def _read(path: str, name: str, form: str, reader: str) -> Any:
    """``reader``: the path of :mod:`.inframe` or of :mod:`.languages.values`."""
    space = _load(reader)
    try:
        return space["read"](path) if form == "frame" else space["decode"](json.loads(Path(path).read_bytes()))
    except ImportError as error:
        raise RuntimeError(
            f"The variable {name} is a data frame, and there is no pandas here ({error}). Put pandas into the job's "
            "environment."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise RuntimeError(f"The variable {name} can't be read: {error}.") from error


def _load(source: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "_trainjob_part"}
    exec(compile(Path(source).read_bytes(), "<trainjob>", "exec"), space)  # noqa: S102 - our own source
    return space


def give(name: str, path: str) -> dict[str, Any]:
    """Pickle one variable into a file: ``{"name", "size", "type", "python", "format", "error"}``."""
    python = platform.python_version()
    told: dict[str, Any] = {"name": name, "size": 0, "type": "", "python": python, "format": "pickle", "error": ""}
    namespace = _shell().user_ns
    if name not in namespace:
        told["error"] = f"the code did not set a variable {name!r}"
        return told
    value = namespace[name]
    kind = type(value)
    told["type"] = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        import cloudpickle as pickle  # type: ignore[import-untyped]
    except ImportError:
        import pickle
    partial = Path(f"{path}.part")
    try:
        with partial.open("wb") as file:
            pickle.dump(value, file)
        told["size"] = partial.stat().st_size
        partial.replace(path)
    except Exception as error:  # told to the owner: anything can go wrong in a foreign __reduce__
        told["error"] = f"{name!r} can't be pickled: {type(error).__name__}: {str(error)[:2000]}"
        partial.unlink(missing_ok=True)
    return told


def leave() -> None:
    """The code is over: what the kernel's own machinery says about its sockets while it closes is not the job's log."""
    for name in ("tornado", "zmq", "ipykernel", "asyncio", "traitlets"):
        logging.getLogger(name).disabled = True
    for name in ("tornado.application", "tornado.general", "tornado.access"):
        logging.getLogger(name).disabled = True
    warnings.simplefilter("ignore", ResourceWarning)


def where() -> dict[str, Any]:
    """The last exception (``ename``, ``evalue``), and the ``line`` of the running cell in which it arose, or None."""
    error, trace = getattr(sys, "last_value", None), getattr(sys, "last_traceback", None)
    cell, line = None, None
    while trace is not None:
        code, frame = trace.tb_frame.f_code, trace.tb_frame
        if cell is None and code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            cell = code.co_filename
        if code.co_filename == "<timed exec>":
            line = trace.tb_lineno + 1 + _above["run"]  # the body of a %%time cell begins on its second line
        elif code.co_filename == cell:
            line = trace.tb_lineno
        trace = trace.tb_next
    if line is None and isinstance(error, SyntaxError):
        line = error.lineno
    return {"line": line, "ename": type(error).__name__, "evalue": str(error)[:4000]}


def answer(path: str, value: dict[str, Any]) -> None:
    """Leave an answer for the runner."""
    partial = Path(f"{path}.part")
    partial.write_text(json.dumps(value))
    partial.replace(path)


def _shell() -> Any:
    from IPython import get_ipython

    return get_ipython()


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _as_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Undecodable bytes go out as they came in; other lone surrogates are shown, and no print fails for them."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _write(fd: int, data: Any) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
