"""Pages of the site that are not in docs/: what links from there lead to. MkDocs calls the functions by their names.

A link such as `../sample_traces/README.md` works where the repository is looked at; in the site it leads to the page
that is made of that file.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
#: Files of the repository, and the pages that they become.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks/index.md",
    "sample_traces/README.md": "sample_traces/index.md",
} | {f"notebooks/{path.name}": f"notebooks/{path.stem}.md" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and the pictures of notebooks."""
    for source, page in PAGES.items():
        if source.endswith(".ipynb"):
            exporter = MarkdownExporter()  # type: ignore[no-untyped-call]
            text, resources = exporter.from_filename(str(ROOT / source))
            folder = posixpath.splitext(page)[0]
            for name, picture in resources["outputs"].items():
                files.append(File.generated(config, f"{folder}/{name}", content=picture))
                text = text.replace(f"]({name})", f"]({posixpath.basename(folder)}/{name})")
        else:
            text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that lead out of docs/ lead to the pages."""
    folder = posixpath.dirname(page.file.src_uri)

    def within(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", folder, link[1]))
        return posixpath.relpath(PAGES[target], folder or ".") if target in PAGES else link[1]

    return _LINK.sub(within, markdown)
