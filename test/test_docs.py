"""The documentation: it builds without warnings, its links lead somewhere, the README is short."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README_WORDS = 1500


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, as `make docs` builds it."""
    for module in ("mkdocs", "material", "mkdocstrings_handlers"):
        if importlib.util.find_spec(module) is None:
            pytest.skip("the site needs the packages of the extra [docs]")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = dict(os.environ, NO_MKDOCS_2_WARNING="1")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_holds_every_page_and_the_readme(site: Path) -> None:
    pages = {page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")}
    missing = [page for page in pages if not (site / page).with_suffix(".html").is_file()]
    assert not missing
    assert "make demo" in (site / "index.html").read_text(encoding="utf-8")


def test_the_api_reference_shows_the_public_names(site: Path) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    for name in (
        "irvis_fusion_core.fusion.RealtimeFusion.fuse_frame",
        "irvis_fusion_core.frames.normalize_pair",
        "irvis_fusion_core.metrics.table.score_pair",
        "irvis_fusion_core.streams.health.IrHealth",
        "irvis_fusion_core.backends.protocol.Backend",
    ):
        assert f'id="{name}"' in text, name


def test_the_site_loads_nothing_from_the_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]+rel="stylesheet"[^>]+href="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]+href="([^"]+)"[^>]+rel="stylesheet"', text)
        assert not [target for target in loaded if re.match(r"(https?:)?//", target)], page.name


@pytest.mark.parametrize(
    "source, shown, link, expected",
    [
        ("README.md", "index.md", "docs/node.md#faults", "node.md#faults"),
        ("README.md", "index.md", "CONTRIBUTING.md", "contributing.md"),
        ("docs/node.md", "node.md", "../README.md", "index.md"),
        ("docs/api/ros.md", "api/ros.md", "../architecture.md", "../architecture.md"),
        ("README.md", "index.md", "https://example.org/docs/x", "https://example.org/docs/x"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(
    source: str, shown: str, link: str, expected: str
) -> None:
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site_pages.py")
    assert spec is not None and spec.loader is not None
    site_pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site_pages)
    assert site_pages.rewrite_links(f"[a]({link})", source, shown) == f"[a]({expected})"


def test_links_inside_the_documents_lead_somewhere() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target):
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS
