"""The `core` loader: objects compiled when the package was built, loaded by libbpf.so.1."""

import contextlib
import ctypes
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tracekit.capture import kernel, wire
from tracekit.capture.loading import Attached, KernelFacts, Links, Plan
from tracekit.capture.probes import RINGS, Probe
from tracekit.errors import UnsupportedError

_LIBRARY = "libbpf.so.1"
_OBJECTS = Path(__file__).parent / "bpf"
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_POINTER, _STRING, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int

# name: (result, arguments)
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "bpf_object__open_mem": (_POINTER, (_STRING, ctypes.c_size_t, _POINTER)),
    "bpf_object__load": (_INT, (_POINTER,)),
    "bpf_object__close": (None, (_POINTER,)),
    "bpf_object__next_program": (_POINTER, (_POINTER, _POINTER)),
    "bpf_object__find_map_by_name": (_POINTER, (_POINTER, _STRING)),
    "bpf_map__set_max_entries": (_INT, (_POINTER, ctypes.c_uint32)),
    "bpf_map__set_initial_value": (_INT, (_POINTER, _STRING, ctypes.c_size_t)),
    "bpf_map__reuse_fd": (_INT, (_POINTER, _INT)),
    "bpf_map__fd": (_INT, (_POINTER,)),
    "bpf_program__name": (_STRING, (_POINTER,)),
    "bpf_program__set_autoload": (_INT, (_POINTER, ctypes.c_bool)),
    "bpf_program__attach_raw_tracepoint": (_POINTER, (_POINTER, _STRING)),
    "bpf_program__attach_tracepoint": (_POINTER, (_POINTER, _STRING, _STRING)),
    "bpf_program__fd": (_INT, (_POINTER,)),
    "bpf_link__destroy": (_INT, (_POINTER,)),
    "libbpf_set_print": (_POINTER, (_PRINT,)),
}


def unavailable() -> str | None:
    """Why this loader cannot be used on this machine; None if it can be tried."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return f"{_LIBRARY} is not installed (Debian, Ubuntu: apt install libbpf1; Fedora: dnf install libbpf)"
    if not (_OBJECTS / "process.bpf.o").is_file():
        return "this installation holds no compiled BPF objects"
    return None


def attach(facts: KernelFacts, plan: Plan) -> Attached:
    """Load and attach programs; on any error nothing stays attached.

    Raises:
        UnsupportedError: the kernel refuses a program.
    """
    library = _Library()
    with contextlib.ExitStack() as undo:
        objects: list[_Object] = []
        for family in plan.programs:
            objects.append(_Object(library, family))
            undo.callback(objects[-1].close)
            objects[-1].load(facts, plan)
        links = Links()
        undo.callback(links.detach)
        for item in objects:
            for probe in facts.probes[item.family]:
                links.add(item.attach(probe))
        return Attached(
            "core",
            rings={name: (item.map(name), plan.ring_bytes[name]) for item in objects for name in item.rings},
            counters={item.family: item.map(f"{item.family}_counters") for item in objects if item.rings},
            programs={item.family: item.program_fds() for item in objects if item.rings},
            detach=links.detach,
            close=undo.pop_all().close,
        )


class _Library:
    """libbpf, and the last warning that it gave."""

    def __init__(self) -> None:
        self._functions = ctypes.CDLL(_LIBRARY, use_errno=True)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._functions, name)
            function.restype, function.argtypes = result, arguments
        self._warning = ""
        self._print = _PRINT(self._listen)  # kept, since libbpf keeps its address
        self._functions.libbpf_set_print(self._print)

    def _listen(self, level: int, template: bytes, arguments: int) -> int:
        if level == 0 and not self._warning:
            text = ctypes.create_string_buffer(512)
            ctypes.CDLL(None).vsnprintf(text, ctypes.c_size_t(512), template, ctypes.c_void_p(arguments))
            self._warning = text.value.decode(errors="replace").strip().splitlines()[0]
        return 0

    def call(self, name: str, *arguments: Any) -> Any:
        """What the function returns; None is a null pointer."""
        return getattr(self._functions, name)(*arguments)

    def check(self, doing: str, name: str, *arguments: Any) -> Any:
        """The same, where null or a negative number is a failure.

        Raises:
            UnsupportedError: it failed; the message has libbpf's own words.
        """
        ctypes.set_errno(0)
        self._warning = ""
        result = self.call(name, *arguments)
        if result is None or (_FUNCTIONS[name][0] is _INT and result < 0):
            code = ctypes.get_errno() or -(result or 0)
            reason = ctypes.create_string_buffer(128)
            self._functions.libbpf_strerror(code, reason, ctypes.c_size_t(128))
            said = f" ({self._warning})" if self._warning else ""
            raise UnsupportedError(f"{doing} failed: {reason.value.decode()}{said}")
        return result


class _Object:
    """The compiled programs of one family."""

    def __init__(self, library: _Library, family: str) -> None:
        self.family = family
        self.rings = tuple(ring.name for ring in RINGS.get(family, ()))
        self._library = library
        self._programs: dict[str, int] = {}
        code = (_OBJECTS / f"{family}.bpf.o").read_bytes()
        self._object = library.check(f"reading the {family} programs", "bpf_object__open_mem", code, len(code), None)

    def load(self, facts: KernelFacts, plan: Plan) -> None:
        """Size the maps, choose the programs that this kernel has a place for, and load them."""
        sizes = plan.ring_bytes | plan.entries | {f"{self.family}_counters": kernel.possible_cpus()}
        for name, entries in sizes.items():
            if found := self._look_for(name):
                self._library.check(f"sizing {name}", "bpf_map__set_max_entries", found, entries)
        for name, descriptor in plan.maps.items():
            if found := self._look_for(name):
                self._library.check(f"sharing {name}", "bpf_map__reuse_fd", found, descriptor)
        values = np.zeros(1, wire.CONFIG)
        for name, value in (facts.config | plan.config).items():
            values[name] = value
        config = values.tobytes()
        self._library.check("setting up", "bpf_map__set_initial_value", self._find(".rodata"), config, len(config))
        self._choose({probe.function for probe in facts.probes[self.family]})
        self._library.check(f"loading the {self.family} programs", "bpf_object__load", self._object)

    def _choose(self, functions: set[str]) -> None:
        program = self._library.call("bpf_object__next_program", self._object, None)
        while program:
            name = self._library.call("bpf_program__name", program).decode()
            self._library.call("bpf_program__set_autoload", program, name in functions)
            if name in functions:
                self._programs[name] = program
            program = self._library.call("bpf_object__next_program", self._object, program)

    def attach(self, probe: Probe) -> Callable[[], object]:
        """Attach a program; the result undoes it."""
        names = [name.encode() for name in probe.target.split(":")]
        function = f"bpf_program__attach_{'raw_tracepoint' if probe.raw else 'tracepoint'}"
        doing = f"attaching to {probe.target}"
        link = self._library.check(doing, function, self._programs[probe.function], *names)
        return partial(self._library.call, "bpf_link__destroy", link)

    def _look_for(self, name: str) -> Any:
        """The map of that name; None if these programs have none."""
        return self._library.call("bpf_object__find_map_by_name", self._object, name.encode())

    def _find(self, name: str) -> Any:
        return self._library.check(f"finding {name}", "bpf_object__find_map_by_name", self._object, name.encode())

    def map(self, name: str) -> int:
        """Descriptor of a map."""
        return int(self._library.call("bpf_map__fd", self._find(name)))

    def program_fds(self) -> list[int]:
        """Descriptors of the loaded programs."""
        return [int(self._library.call("bpf_program__fd", program)) for program in self._programs.values()]

    def close(self) -> None:
        """Let go of programs and maps."""
        self._library.call("bpf_object__close", self._object)
