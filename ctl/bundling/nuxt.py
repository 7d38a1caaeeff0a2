"""Nuxt: the statically generated page with everything it needs in it, wrapped as a module that shows it.

`nuxt generate` writes a folder for a web server. Here it becomes one HTML text: scripts are bundled (chunks that would be
loaded later as well), style sheets are put in, and files of known types are data URIs. The module's default export
puts that text into a sandboxed frame, or returns it where there is no DOM. A frame has no address of its own, so
`frame.js` gives the page a location, a history and the few files that Nuxt fetches by itself.
"""

from __future__ import annotations

import base64
import json
import mimetypes
import os
import re
import tempfile
from datetime import UTC, datetime
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ..errors import CommandError
from .bundled import Bundled, Wishes
from .javascript import install, read_package
from .tools import esbuild, local_program, run

OUTPUT = Path(".output/public")
ASSETS = frozenset(
    (
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".svg",
        ".webp",
        ".avif",
        ".ico",
        ".woff",
        ".woff2",
        ".ttf",
        ".otf",
        ".mp3",
        ".wav",
        ".json",
    )
)
DROPPED_LINKS = frozenset(("modulepreload", "preload", "prefetch", "preconnect", "dns-prefetch", "manifest"))
FRAME_SCRIPT = Path(__file__).with_name("frame.js")
WRAPPER = Path(__file__).with_name("page.js")
VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"))
CSS_URL = re.compile(r"url\(\s*(['\"]?)([^'\")]+)\1\s*\)")
WINDOW = "__starkWindow"
"""What the page's scripts take for `window`: see frame.js."""


def bundle_nuxt(source: Path, wishes: Wishes) -> Bundled:
    """Generate the page and make one module of it. Raises CommandError."""
    package = read_package(source)
    if wishes.install:
        install(source, package)
    if wishes.build:
        nuxt = local_program("nuxt", source)
        argv = [nuxt] if nuxt else ["pnpm", "exec", "nuxt"]
        run([*argv, "generate"], source, "generating the static page", {"NUXT_TELEMETRY_DISABLED": "1"})
    public = (source / OUTPUT).resolve()
    if not (public / "index.html").is_file():
        raise CommandError(
            f"{source / OUTPUT} has no index.html: the page must be static (`ssr: false`, or prerendered)"
        )
    name = wishes.name or str(package.get("name") or source.name).rpartition("/")[2]
    out = (wishes.out or Path("bundle.js")).absolute()
    page = _Page(public, source)
    html = page.whole()
    _check_whole(html)
    out.write_text(_module(html, name, str(package.get("version") or "0.0.0")), encoding="utf-8")
    made = Bundled(out, wishes.runtime or "universal", name)
    made.metadata = {"requiresDOM": "true"}
    made.included, made.left_out = page.included, page.left_out
    return made


def _module(html: str, name: str, version: str) -> str:
    meta = {
        "name": name,
        "version": version,
        "framework": "nuxt",
        "requiresDOM": True,
        "size": len(html.encode()),
        "generatedAt": _now().isoformat(timespec="seconds").replace("+00:00", "Z"),
        "containerId": f"stark-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}",
    }
    text = WRAPPER.read_text(encoding="utf-8")
    return text.replace("__META__", json.dumps(meta)).replace("__HTML__", json.dumps(html, ensure_ascii=False))


def _now() -> datetime:
    """The time, or the one that reproducible builds are told to take (reproducible-builds.org, SOURCE_DATE_EPOCH)."""
    told = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(told), UTC) if told.isdigit() else datetime.now(UTC)


class _Page:
    """The files of a generated page, put into its HTML."""

    def __init__(self, public: Path, project: Path) -> None:
        self._public, self._project = public, project
        self.included: list[tuple[str, int]] = []
        self.left_out: list[str] = []
        files = sorted(path for path in public.rglob("*") if path.is_file())
        self._urls = {f"/{path.relative_to(public).as_posix()}": path for path in files}
        self._styles = [path for path in files if path.suffix == ".css"]
        self._assets = {url: _data_uri(path) for url, path in self._urls.items() if path.suffix in ASSETS}

    def whole(self) -> str:
        """The page as one text."""
        reader = _Inliner(self)
        reader.feed((self._public / "index.html").read_text(encoding="utf-8"))
        reader.close()
        used = sorted(self._assets)
        self.included += [(url.lstrip("/"), self._urls[url].stat().st_size) for url in used]
        self.left_out += [
            f"{path.relative_to(self._public)}: not a type of file that can be put into a page"
            for url, path in self._urls.items()
            if path.suffix not in ASSETS | {".css", ".js", ".html", ".txt", ".map"} and path.name != ".nojekyll"
        ]
        return "".join(reader.out)

    def head(self) -> str:
        """What goes before everything else: the frame's script with the files that are asked for at run time."""
        script = FRAME_SCRIPT.read_text(encoding="utf-8").replace("__FILES__", json.dumps(self._assets))
        return f"<script>{_script_text(script)}</script>{self._style_sheets()}"

    def asset(self, url: str) -> str | None:
        """The data URI of a file of the page; None for what is none."""
        return self._assets.get(_path_of(url))

    def is_local(self, url: str) -> bool:
        """Whether the address is a file of the page."""
        return _path_of(url) in self._urls

    def script(self, url: str) -> str:
        """A script with every chunk it loads, now or later."""
        path = self._urls[_path_of(url)]
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "script.js"
            account = out.with_name("account.json")
            argv = [
                *esbuild(self._project),
                str(path),
                "--bundle",
                "--format=esm",
                "--minify",
                "--charset=utf8",
                "--log-level=error",
                f"--outfile={out}",
                f"--metafile={account}",
                *(f"--define:{name}={WINDOW}.{name}" for name in ("location", "history")),
                f"--define:window={WINDOW}",
            ]
            run(argv, self._public, "putting scripts together")
            found: dict[str, Any] = json.loads(account.read_text(encoding="utf-8"))
            imports = [one for output in found["outputs"].values() for one in output.get("imports") or ()]
            asked = [one["path"] for one in imports if one.get("external")]
            if asked:
                raise CommandError(
                    f"the page's script would still load {asked[0]} at run time: everything must be bundled"
                )
            text = out.read_text(encoding="utf-8")
        self.included.append((path.relative_to(self._public).as_posix(), len(text.encode())))
        return text

    def _style_sheets(self) -> str:
        """All of them: those of chunks, too, which would be loaded with their chunk."""
        found = []
        for path in self._styles:
            text = path.read_text(encoding="utf-8")
            folder = f"/{path.parent.relative_to(self._public).as_posix()}/"
            found.append(CSS_URL.sub(lambda match, at=folder: self._css_url(match, at), text))  # type: ignore[misc]
            self.included.append((path.relative_to(self._public).as_posix(), len(text.encode())))
        return "".join(f"<style>{_style_text(text)}</style>" for text in found)

    def _css_url(self, match: re.Match[str], folder: str) -> str:
        url = match[2].removeprefix("./")
        data = self.asset(url if url.startswith("/") else folder + url)
        return f"url({data})" if data else match[0]


class _Inliner(HTMLParser):
    """Copies the page, and puts in what it refers to."""

    def __init__(self, page: _Page) -> None:
        super().__init__(convert_charrefs=False)
        self._page = page
        self._skip_text = False
        self.out: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "link" and self._drops_link(given):
            return None
        if tag == "script" and "src" in given:
            return self._script(given)
        for name in ("src", "href", "poster", "data-src"):
            if name in given and (data := self._page.asset(given[name])):
                given[name] = data
        self.out.append(_tag(tag, given))
        if tag == "head":
            self.out.append(self._page.head())
        return None

    def _drops_link(self, given: dict[str, str]) -> bool:
        kinds = set(given.get("rel", "").split())
        if "stylesheet" in kinds:
            return self._page.is_local(given.get("href", ""))
        return bool(kinds & DROPPED_LINKS)

    def _script(self, given: dict[str, str]) -> None:
        if not self._page.is_local(given["src"]):
            raise CommandError(f"the page loads a script from {given['src']}: a pack must hold its scripts itself")
        self.out.append(f'<script type="module">{_script_text(self._page.script(given["src"]))}')

    def handle_endtag(self, tag: str) -> None:
        self.out.append(f"</{tag}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        self.out.append(data)

    def handle_entityref(self, name: str) -> None:
        self.out.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.out.append(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        self.out.append(f"<!--{data}-->")  # of meaning to Vue, which finds its places by them

    def handle_decl(self, decl: str) -> None:
        self.out.append(f"<!{decl}>")


def _tag(tag: str, given: dict[str, str]) -> str:
    words = [tag, *(f'{name}="{escape(value)}"' if value else name for name, value in given.items())]
    return f"<{' '.join(words)}>"


def _path_of(url: str) -> str:
    path = url.partition("?")[0].partition("#")[0].removeprefix("./")
    return path if path.startswith(("/", "http:", "https:")) else f"/{path}"


def _data_uri(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _script_text(text: str) -> str:
    """Nothing in a script may end its element, or begin a comment in it (HTML, "Restrictions for contents of script")."""
    return text.replace("</script", "<\\/script").replace("</SCRIPT", "<\\/SCRIPT").replace("<!--", "<\\!--")


def _style_text(text: str) -> str:
    return text.replace("</style", "<\\/style")


class _Remains(HTMLParser):
    """Finds what a page would still load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "script" and given.get("src"):
            self.found.append(given["src"])
        if tag == "link" and "stylesheet" in given.get("rel", "").split():
            self.found.append(given.get("href", ""))


def _check_whole(html: str) -> None:
    remains = _Remains()
    remains.feed(html)
    remains.close()
    if remains.found:
        raise CommandError(
            f"the page would still load {remains.found[0]}: a pack must hold its scripts and styles itself"
        )
