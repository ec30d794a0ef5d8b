"""What may leave: a trace with pseudonyms for names, and without secrets."""

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.analyze.columns import (
    NULL,
    Bools,
    Ints,
    arrow_ints,
    arrow_strings,
    encoded,
    ints,
    ints_of,
)
from tracekit.metadata import Disk, Metadata
from tracekit.schema import EVENTS, FAMILIES
from tracekit.share.files import one_line_for_damage, write_from
from tracekit.share.names import Allowed, Names
from tracekit.share.secrets import PASSWORD, RANDOM, has_random, names_secret, shapes_of
from tracekit.text import COMM_BYTES
from tracekit.trace import Trace
from tracekit.writer import TraceWriter

#: What a column of strings counts as.
KINDS = {"comm": "program names", "path": "paths", "cgroup": "control groups", "disk": "disk names"}
ARGUMENTS, USERS, HOST, MODELS = "arguments", "user ids", "host name", "disk models"
#: The release of a kernel, without what somebody called his own.
_KERNEL = re.compile(
    r"\d+(?:\.\d+)*(?:[-.+~_](?:\d+|rc\d+|generic|lowlatency|virtual|amd64|arm64|x86_64|aarch64|cloud|aws|azure|gcp|oracle|"
    r"kvm|rt|default|lts|el\d+\w?|fc\d+|amzn\d+|arch\d+|deb\d+u?\d*|bpo|ubuntu|zen|hardened|microsoft|WSL2))*"
)
#: So much is shown of what looks like a secret.
_SHOWN = 4
#: So many values are told apart, to count them.
_DIFFERENT = 1 << 16
_WHEN = ("event", "ts_ns")
Rewrite = Callable[[str], str]


@dataclass
class Replaced:
    """What was replaced: by kind, and what looked like a secret by its shape; each value of each event counts.

    Attributes:
        different: of each kind the hashes of its values, up to a number of them.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    secrets: Counter[str] = field(default_factory=Counter)
    different: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, kind: str, value: str | int, count: int) -> None:
        """So many values of a kind, all the same."""
        self.kinds[kind] += count
        if len(self.different[kind]) < _DIFFERENT:
            self.different[kind].add(hash(value))

    def told(self) -> str:
        """In words."""
        parts = [f"{count:,} {kind}{self._different(kind)}" for kind, count in self.kinds.most_common() if count]
        return ", ".join(parts) or "nothing"

    def _different(self, kind: str) -> str:
        number = len(self.different[kind])
        return f" ({number:,}{' or more' if number == _DIFFERENT else ''} different)" if number else ""


def redact(
    trace: Trace, output: Path, key: bytes, allowed: Allowed, *, force: bool = False, machine: bool = True
) -> tuple[Metadata, Replaced]:
    """Write a trace with pseudonyms for what names people, places and their work.

    Groups of events stay as they are, so that an analysis finds the same.

    Args:
        trace: stays as it is.
        output: the trace to write.
        key: the same key gives the same name the same pseudonym.
        allowed: what stays.
        force: overwrite the output.
        machine: let the footer tell the kernel, processors and disks.

    Returns:
        The footer that was written, and what was replaced.

    Raises:
        TraceError: the trace is damaged.
        OSError: the output cannot be written.
    """
    redaction = _Redaction(trace, Names(key, allowed, trace.metadata.hostname))

    def fill(writer: TraceWriter) -> Metadata:
        footer = redaction.write(writer)
        return footer if machine else _without_machine(footer)

    metadata = write_from(trace, output, force, fill)
    return metadata, redaction.replaced


def _without_machine(footer: Metadata) -> Metadata:
    disks = tuple(Disk(disk.name, disk.dev) for disk in footer.disks)
    return replace(footer, kernel=None, arch=None, cpus=None, disks=disks)


class _Redaction:
    def __init__(self, trace: Trace, names: Names) -> None:
        self.trace, self.names, self.replaced = trace, names, Replaced()
        self._rewrite: dict[str, Rewrite] = {
            "comm": names.component,
            "path": names.path,
            "cgroup": names.path,
            "disk": names.component,
            "op": self._word,
            "lost_family": self._word,
        }

    def write(self, writer: TraceWriter) -> Metadata:
        """Write all rows; the footer is what it was, without names."""
        self._learn_programs()
        for family in FAMILIES:
            for rows in self.trace.batches(*EVENTS[family]):
                if rows.num_rows:
                    writer.write(family, self._without_names(rows))
        return self._footer(self.trace.metadata)

    def _learn_programs(self) -> None:
        """Programs that are run from where those of the system are stay."""
        for rows in self.trace.batches("exec", columns=["path"]):
            for path in encoded(rows, "path")[0].to_pylist():
                if path is not None and self.names.is_system_path(path):
                    program = path.rpartition("/")[2].encode()[:COMM_BYTES]
                    self.names.programs.add(program.decode("utf-8", "ignore"))

    def _without_names(self, rows: pa.RecordBatch) -> pa.Table:
        columns = {name: rows.column(name) for name in rows.schema.names}
        for name, rewrite in self._rewrite.items():
            values, raw = encoded(rows, name)
            columns[name] = self._rewritten(values.to_pylist(), raw, KINDS.get(name, "other words"), rewrite)
        columns["uid"] = arrow_ints(self._users(ints(rows, "uid")), NULL).cast(pa.uint32())
        columns["argv"], longer = self._arguments(rows.column("argv"))
        size = ints(rows, "argv_bytes")
        size = np.where(size == NULL, NULL, np.clip(size + longer, 0, (1 << 32) - 1))
        columns["argv_bytes"] = arrow_ints(size, NULL).cast(pa.uint32())
        return pa.table(columns)

    def _rewritten(self, old: list[str | None], raw: Ints, kind: str, rewrite: Rewrite) -> pa.Array:
        """A column of strings, each of which is looked at once."""
        counts = np.bincount(raw + 1, minlength=len(old) + 1)[1:]
        new = [rewrite(text) if text is not None and count else None for text, count in zip(old, counts, strict=True)]
        self._count(kind, old, new, counts)
        return _dictionary(new, raw)

    def _count(self, kind: str, old: list[str | None], new: list[str | None], counts: Ints) -> None:
        for before, after, count in zip(old, new, counts.tolist(), strict=True):
            if before is not None and count and before != after:
                self.replaced.add(kind, before, count)
                self.replaced.secrets.update(dict.fromkeys(shapes_of(before), count))

    def _users(self, uid: Ints) -> Ints:
        found, number, counts = np.unique(uid, return_inverse=True, return_counts=True)
        new = np.array([self.names.user(one) for one in found.tolist()], dtype=np.int64)
        for user, count in zip(found[new != found].tolist(), counts[new != found].tolist(), strict=True):
            self.replaced.add(USERS, user, count)
        return np.asarray(new[number])

    def _arguments(self, column: pa.Array) -> tuple[pa.Array, Ints]:
        """Arguments of programs, and by how many bytes those of each have become longer."""
        flat = _Flat.of(column)
        size = len(flat.texts)
        raw = np.where(flat.follows_password, flat.raw + size, flat.raw)
        counts = np.bincount(raw + 1, minlength=2 * size + 1)[1:]
        how: list[Rewrite] = [*[self.names.argument] * size, *[self.names.hidden] * size]
        old = flat.texts * 2
        new = [
            rewrite(text) if text is not None and count else None
            for text, count, rewrite in zip(old, counts, how, strict=True)
        ]
        self._count(ARGUMENTS, old, new, counts)
        hidden = np.array([before != after for before, after in zip(old[size:], new[size:], strict=True)], np.bool_)
        self.replaced.secrets[PASSWORD] += int(counts[size:][hidden].sum())
        grown = [
            _bytes(after) - _bytes(before) if after is not None else 0 for before, after in zip(old, new, strict=True)
        ]
        total = np.append(0, np.cumsum(np.array([*grown, 0])[raw]))
        offsets = arrow_ints(flat.ends).cast(pa.int32())
        argv = pa.ListArray.from_arrays(offsets, _dictionary(new, raw).cast(pa.string()), mask=flat.nulls)
        return argv, total[flat.ends[1:]] - total[flat.ends[:-1]]

    def _footer(self, whole: Metadata) -> Metadata:
        names, kinds = self.names, self.replaced.kinds
        kinds[HOST] += whole.hostname is not None
        kinds[MODELS] += sum(disk.model is not None for disk in whole.disks)
        kernel = None if whole.kernel is None else _KERNEL.match(whole.kernel)
        command = whole.command and self._argv(list(whole.command))
        cuts = tuple(replace(cut, trace=None, filters=self._filters(cut.filters)) for cut in whole.cuts)
        bare = replace(
            whole,
            hostname=None,
            kernel=kernel[0] if kernel else None,
            events=tuple(map(self._word, whole.events)),
            filters=self._filters(whole.filters),
            clock=replace(whole.clock, name=self._word(whole.clock.name)),
            counters={self._word(family): counts for family, counts in whole.counters.items()},
            disks=tuple(
                replace(disk, name=names.component(disk.name), model=None, scheduler=self._plain(disk.scheduler))
                for disk in whole.disks
            ),
            command=command,
            cuts=cuts,
            arch=self._plain(whole.arch),
            backend=self._plain(whole.backend),
            tool_version=self._plain(whole.tool_version) or "?",
            created=self._plain(whole.created) or "?",
        )
        return replace(bare, redaction=self._told(whole.redaction))

    def _told(self, earlier: dict[str, Any] | None) -> dict[str, Any]:
        kept = {
            name: text
            for name, text in (earlier or {}).items()
            if isinstance(text, str) and not shapes_of(text) and not shapes_of(name)
        }
        if kept and not self.replaced.kinds.total():
            return kept
        now = f"replaced {self.replaced.told()}"
        told = {"replaced": f"{kept['replaced']}, and then {now}" if "replaced" in kept else now}
        if self.replaced.secrets.total():
            told["secrets"] = f"{self.replaced.secrets.total():,} of them looked like secrets"
        return kept | told

    def _plain(self, text: str | None) -> str | None:
        """A word of the footer, if it is one."""
        is_plain = text is not None and re.fullmatch(r"[\w.:+-]{0,40}", text) and not shapes_of(text)
        return text if is_plain else None

    def _word(self, text: str) -> str:
        """A word of the format."""
        return text if re.fullmatch(r"[A-Za-z_]{1,20}", text) else self.names.pseudonym(text)

    def _argv(self, argv: list[str]) -> tuple[str, ...]:
        rewritten, _ = self._arguments(pa.array([argv], pa.list_(pa.string())))
        return tuple(rewritten[0].as_py())

    def _filters(self, filters: dict[str, Any]) -> dict[str, Any]:
        return {self._word(kind): self._filter(kind, values) for kind, values in filters.items()}

    def _filter(self, kind: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._filter(kind, one) for one in value]
        if isinstance(value, str):
            return self.names.path(value) if kind == "cgroup" else self.names.component(value)
        if kind == "uid" and isinstance(value, int):
            return self.names.user(value)
        return value if value is None or isinstance(value, bool | int | float) else "?"


def _dictionary(values: list[str | None], raw: Ints) -> pa.DictionaryArray:
    """Strings by number, each once; null is -1."""
    place: dict[str, int] = {}
    codes = [NULL if text is None else place.setdefault(text, len(place)) for text in values]
    numbers = np.array([*codes, NULL], dtype=np.int64)[raw]
    return pa.DictionaryArray.from_arrays(arrow_ints(numbers, NULL).cast(pa.int32()), arrow_strings(list(place)))


def _bytes(text: str | None) -> int:
    return 0 if text is None else len(text.encode())


@dataclass(frozen=True)
class Suspect:
    """Something that looks like a secret: its shape, in which column or field of the footer, and how often.

    Attributes:
        begins: the first characters of the first in time.
        event: which that is in; null for the footer.
        at_ns: when that was, from the start of the recording.
    """

    shape: str
    place: str
    count: int
    begins: str
    event: str | None
    at_ns: int


@dataclass(frozen=True)
class _Met:
    """A string of a trace: where it stands, how often, and in which of some rows first; null rows are the footer."""

    place: str
    text: str
    count: int
    rows: pa.RecordBatch | None = None
    row: int = 0


def suspects(trace: Trace) -> list[Suspect]:
    """What of a trace looks like a secret, the most frequent first.

    Raises:
        TraceError: the trace is damaged.
    """
    counts: Counter[tuple[str, str]] = Counter()
    found: dict[tuple[str, str], Suspect] = {}
    with one_line_for_damage(trace):
        for shape, met in _telling(trace):
            which = shape, met.place
            counts[which] += met.count
            event, ts_ns = (
                (met.rows.column(name)[met.row].as_py() for name in _WHEN) if met.rows is not None else (None, 0)
            )
            one = Suspect(*which, 0, met.text[:_SHOWN], event, (ts_ns or 0) - trace.start_ns)
            # Families stand one after another in the file, each by time.
            found[which] = min(found.get(which, one), one, key=lambda suspect: suspect.at_ns)
    return [replace(found[which], count=count) for which, count in counts.most_common()]


def _telling(trace: Trace) -> Iterator[tuple[str, _Met]]:
    """What looks like a secret, with its shape."""
    footer = trace.metadata
    named = [(HOST, footer.hostname), *((MODELS, disk.model) for disk in footer.disks)]
    yield from ((kind, _Met("footer", text, 1)) for kind, text in named if text is not None)
    for met in _texts(trace):
        for shape in (*shapes_of(met.text), *([RANDOM] if has_random(met.text) else [])):
            yield shape, met


def _texts(trace: Trace) -> Iterator[_Met]:
    """Every string of a trace that somebody chose."""
    for name in KINDS:
        for rows in trace.batches(columns=[name, *_WHEN]):
            values, raw = encoded(rows, name)
            yield from _counted(name, values.to_pylist(), raw, rows, np.arange(len(raw)))
    for rows in trace.batches("process", "exec", "exec_failed", columns=["argv", *_WHEN]):
        flat = _Flat.of(rows.column("argv"))
        row = np.searchsorted(flat.ends, np.arange(len(flat.raw)), "right") - 1
        yield from _counted("argv", flat.texts, flat.raw, rows, row)
        follows = flat.follows_password
        for met in _counted("argv", flat.texts, flat.raw[follows], rows, row[follows]):
            # As one text, it has the shape by which a secret is known.
            yield replace(met, text=f"password={met.text}")
    footer = dataclasses.asdict(trace.metadata)
    del footer["redaction"]
    yield from (_Met("footer", text, 1) for text in _strings(footer))


def _counted(place: str, texts: list[str | None], raw: Ints, rows: pa.RecordBatch, row: Ints) -> Iterator[_Met]:
    """Each of these texts that occurs; `row` is where each occurrence stands."""
    numbers, first, counts = np.unique(raw, return_index=True, return_counts=True)
    for number, at, count in zip(numbers.tolist(), row[first].tolist(), counts.tolist(), strict=True):
        text = texts[number] if number != NULL else None
        if text is not None:
            yield _Met(place, text, count, rows, at)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


@dataclass(frozen=True)
class _Flat:
    """Lists of arguments as one sequence.

    Attributes:
        texts: the distinct ones.
        raw: of each argument its number among them, -1 for null.
        ends: where the lists begin and end.
        nulls: which lists are null.
        follows_password: of each argument whether an option such as `--password` stands before it.
    """

    texts: list[str | None]
    raw: Ints
    ends: Ints
    nulls: pa.Array
    follows_password: Bools

    @staticmethod
    def of(column: pa.Array) -> "_Flat":
        ends = np.append(0, np.cumsum(ints_of(pc.fill_null(pc.list_value_length(column), 0))))
        values, raw = encoded(pa.record_batch([column.flatten()], ["argv"]), "argv")
        texts = values.to_pylist()
        options = [text is not None and text.startswith("-") and names_secret(text) for text in texts]
        follows = np.append(False, np.array([*options, False])[raw[:-1]])[: len(raw)] & (raw != NULL)
        follows[ends[:-1][ends[:-1] < len(raw)]] = False
        return _Flat(texts, raw, ends, column.is_null(), follows)
