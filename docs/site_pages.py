"""MkDocs hook: pages of the site that lie outside `docs/`, and the links to them.

README, CONTRIBUTING and the model card stay where people and tools expect them. The site shows
them as pages of its own. Their links are written for the repository; here they are rewritten
for the site, and so are the links of the other pages to them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# Path in the repository -> path in the site. What does not end in .md is copied as it is.
SHOWN = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.rst": "CHANGELOG.rst",
    "LICENSE": "LICENSE.txt",
    "irvis_fusion_core/models/MODEL_CARD.md": "model_card.md",
}

_LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


def on_files(files: Any, config: Any) -> Any:
    """Add the files of `SHOWN` to the site."""
    from mkdocs.structure.files import File

    for source, shown in SHOWN.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, shown, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Return the page with the links of the repository turned into links of the site."""
    shown = page.file.src_uri
    source = {site: repository for repository, site in SHOWN.items()}.get(shown, "docs/" + shown)
    return rewrite_links(markdown, source, shown)


def rewrite_links(markdown: str, source: str, shown: str) -> str:
    """Return the text with its relative links rewritten.

    Args:
        markdown: A page with links relative to `source`.
        source: Path of the page in the repository.
        shown: Path of the page in the site.
    """

    def rewrite(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2]))
        if target in SHOWN:
            target = SHOWN[target]
        elif target.startswith("docs/"):
            target = target[len("docs/") :]
        else:
            return link[0]  # MkDocs warns about it
        return link[1] + posixpath.relpath(target, posixpath.dirname(shown) or ".") + link[3]

    return _LINK.sub(rewrite, markdown)
