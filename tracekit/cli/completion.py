"""`tracekit completion`: what makes the Tab key of a shell know tracekit."""

import click
from click.shell_completion import ShellComplete, get_completion_class

from tracekit.cli.main import COMPLETION
from tracekit.cli.options import Choice


@click.command()
@click.argument("shell", metavar="SHELL", type=Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script with which SHELL completes commands, options, and their values at the Tab key.

    SHELL is bash, zsh or fish. Commands and disks of --comm and --disk are those of the trace that stands before them.

    \b
    Examples:
      tracekit completion bash | sudo tee /etc/bash_completion.d/tracekit
      tracekit completion bash >> ~/.bash_completion
      tracekit completion zsh > ~/.zfunc/_tracekit    # a folder of your fpath
      tracekit completion fish > ~/.config/fish/completions/tracekit.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click knows these three
    # Not bash's own `source`, which wants a bash here: the script may be for another machine.
    click.echo(ShellComplete.source(kind(context.find_root().command, {}, "tracekit", COMPLETION)))
