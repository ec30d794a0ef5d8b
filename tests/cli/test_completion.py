"""What the Tab key does: in a real bash, and in other shells where there are some."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from needs import must_have
from terminal import on_terminal
from tracebuilder import TraceBuilder

from tracekit.analyze.plots import KINDS
from tracekit.analyze.plots.source import METRICS, TIMED_EVENTS
from tracekit.cli.main import COMMANDS, cli, main
from tracekit.metadata import Disk

Output = pytest.CaptureFixture[str]
SAMPLE = Path(__file__).parents[2] / "sample_traces" / "service-restart.parquet"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a trace, and with a program `tracekit` on the path."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "tracekit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tracekit "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLE, "service.parquet")
    return tmp_path


def offered(*words: str) -> list[str]:
    """What bash offers for the last word."""
    script = """
eval "$(tracekit completion bash)"
compopt() { echo "$2"; }  # allowed at the Tab key only
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_tracekit_completion tracekit
printf '%s\\n' "${COMPREPLY[@]}"
"""
    command = ["bash", "--norc", "-c", script, "bash", "tracekit", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([""], list(COMMANDS)),
        (["re"], ["record", "recover", "report", "redact"]),
        (["--ver"], ["--version"]),
        (["report", "--fo"], ["--format", "--force"]),
        (["report", "--format", ""], ["text", "json", "md"]),
        (["report", "service.parquet", "--format", "j"], ["json"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["plot", ""], list(KINDS)),
        (["plot", "t"], ["timeline"]),
        (["plot", "latency", "--metric", ""], list(METRICS)),
        (["plot", "rates", "--event", "block_"], [name for name in TIMED_EVENTS if name.startswith("block_")]),
        (["record", "--events", ""], ["process", "block", "open"]),
        (["record", "--events", "process,"], ["process,block", "process,open"]),
        (["doctor", "--events", "open,b"], ["open,block"]),
        (["record", "--backend", "c"], ["core"]),
        (["record", "--cgroup", "/s"], ["dirnames"]),
        (["record", "-o", ""], ["default"]),
        (["record", "--", "ma"], ["default"]),
        (["report", "se"], ["default"]),
        (["recover", ""], ["default"]),
        (["report", "service.parquet", "--comm", "su"], ["supervise"]),
        (["report", "service.parquet", "--disk", ""], ["disk0"]),
        (["plot", "io", "service.parquet", "--disk", ""], ["disk0"]),
        (["report", "missing.parquet", "--disk", ""], []),
        (["frobnicate", ""], []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bash_offers(words: list[str], expected: list[str]) -> None:
    assert offered(*words) == expected


def test_the_usual_trace_is_looked_at(here: Path) -> None:
    Path("service.parquet").rename("trace.parquet")
    assert offered("plot", "io", "--disk", "") == ["disk0"]


def test_names_that_a_shell_would_run_are_not_offered(here: Path) -> None:
    names = ("plain-1.0", "$(reboot)", "a b", "`id`", "x;y", "new\nline", "-rf", "*", "\u65e5", "it's", "")
    builder = TraceBuilder().metadata(disks=tuple(Disk(name, number) for number, name in enumerate(names)))
    for number, name in enumerate(names):
        builder.add("exec", number, pid=number, comm=name)
    builder.write(here / "hostile.parquet")
    assert offered("report", "hostile.parquet", "--comm", "") == ["plain-1.0"]
    assert offered("report", "hostile.parquet", "--disk", "") == ["plain-1.0"]


def test_at_the_tab_key_of_a_terminal(here: Path) -> None:
    prompt = "typed> "
    typed = b"tracekit inf\tser\t--form\tj\t\rexit\r"
    rc = here / "rc"
    rc.write_text(f"eval \"$(tracekit completion bash)\"\nPS1='{prompt}'\nbind 'set enable-bracketed-paste off'\n")
    done = on_terminal(["bash", "--rcfile", str(rc), "-i"], columns=200, at=prompt, key=typed)
    assert f"{prompt}tracekit info service.parquet --format json" in "\n".join(done.screen)
    assert any('"path": "service.parquet"' in line for line in done.screen)
    assert done.code == 0


@pytest.mark.parametrize(
    ("shell", "script"),
    [
        ("zsh", 'autoload -U compinit; compinit -u; eval "$(tracekit completion zsh)"; (( $+_comps[tracekit] ))'),
        ("fish", "tracekit completion fish | source; complete -C 'tracekit plot ti' | string match -q 'timeline*'"),
    ],
)
def test_other_shells_take_their_script(shell: str, script: str) -> None:
    must_have(shell)
    assert subprocess.run([shell, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_needs_no_such_shell_here(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["completion", shell]) == 0
    assert f"_TRACEKIT_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_told_what_commands_do(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_TRACEKIT_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", "tracekit pl")
    monkeypatch.setenv("COMP_CWORD", "pl" if shell == "fish" else "1")
    assert main([]) == 0
    assert "Draw a picture of a trace." in capsys.readouterr().out


def test_completing_commands_imports_none_of_them() -> None:
    code = "import sys; from tracekit.cli.main import main; main([]); print(*sys.modules, file=sys.stderr)"
    environment = os.environ | {"_TRACEKIT_COMPLETE": "bash_complete", "COMP_WORDS": "tracekit re", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["plain,record", "plain,recover", "plain,report", "plain,redact"]
    assert not {"pyarrow", "numpy", "rich"} & set(done.stderr.split())


def test_nonsense_from_a_shell_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    for wish in ("bash_complete", "nosuch_complete", "bash"):
        monkeypatch.setenv("_TRACEKIT_COMPLETE", wish)
        assert main([]) == 1
        assert capsys.readouterr() == ("", "")


def test_lists_of_commands_say_what_the_commands_say_of_themselves(capsys: Output) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    with cli.make_context("tracekit", ["--debug"]) as context:
        for name, told in COMMANDS.items():
            command = cli.get_command(context, name)
            assert command is not None
            assert f"{name} " in listed
            assert told in listed
            # The first word says what it does.
            assert (command.help or "").split()[0] == told.split()[0]
