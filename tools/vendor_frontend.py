"""Fetch what the pages borrow from npm: htmx, the player of live shows, icons, fonts and the categories' pictures.

Run it after changing a version below or a preset's categories; the result is committed, so that neither
a build nor a server ever needs npm. Every file it writes is listed, with package, version, licence and
SHA-256, in `static/vendor/README.md`; each theme's `fonts/` folder carries the fonts' own licence texts.
"""

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PRESETS = ROOT / "src/tradepost/presets"
VENDOR = ROOT / "src/tradepost/web/static/vendor"
CATEGORY_PICTURE_PX = 144

PACKAGES = {
    "htmx.org": ("2.0.11", "0BSD"),
    "hls.js": ("1.7.4", "Apache-2.0"),
    "lucide-static": ("1.62.0", "ISC"),
    "@lobehub/fluent-emoji-3d": ("1.1.0", "MIT"),
    "@fontsource-variable/bricolage-grotesque": ("5.3.0", "OFL-1.1"),
    "@fontsource-variable/fraunces": ("5.3.0", "OFL-1.1"),
    "@fontsource-variable/ibm-plex-sans": ("5.3.0", "OFL-1.1"),
    "@fontsource-variable/inter": ("5.3.0", "OFL-1.1"),
    "@fontsource-variable/nunito-sans": ("5.3.0", "OFL-1.1"),
    "@fontsource-variable/space-grotesk": ("5.3.0", "OFL-1.1"),
    "@fontsource/ibm-plex-mono": ("5.3.0", "OFL-1.1"),
}

ICONS = """
    arrow-down arrow-left arrow-right arrow-up badge-check ban banknote bell bike bookmark cake calendar camera
    chart-column chart-line check chevron-down chevron-left chevron-right chevron-up circle-alert circle-check
    circle-help clock copy credit-card download ellipsis external-link eye eye-off file-text flag gavel gift globe
    grip-vertical hand-coins heart history house image image-off info key-round layout-grid leaf link list locate
    lock log-in log-out mail map-pin menu message-circle minus monitor moon package pencil phone play plus printer
    radio receipt refresh-cw rows-3 scale search send settings share-2 shield-check shopping-bag shopping-cart
    sliders-horizontal smartphone sparkles sprout star store sun sun-moon tag thumbs-up tractor trash-2
    triangle-alert truck undo-2 upload user users video wallet wheat x zap
"""

# store -> package -> files without their subset: "{subset}" becomes latin and latin-ext
FONTS = {
    "tese": {
        "@fontsource-variable/bricolage-grotesque": ["bricolage-grotesque-{subset}-wght-normal"],
        "@fontsource-variable/inter": ["inter-{subset}-wght-normal"],
    },
    "souk-loop": {
        "@fontsource-variable/space-grotesk": ["space-grotesk-{subset}-wght-normal"],
        "@fontsource-variable/inter": ["inter-{subset}-wght-normal"],
    },
    "shop-assistant": {
        "@fontsource-variable/inter": ["inter-{subset}-wght-normal"],
        "@fontsource/ibm-plex-mono": ["ibm-plex-mono-{subset}-400-normal", "ibm-plex-mono-{subset}-500-normal"],
    },
    "marketplace-watch": {
        "@fontsource-variable/ibm-plex-sans": ["ibm-plex-sans-{subset}-wght-normal"],
        "@fontsource/ibm-plex-mono": ["ibm-plex-mono-{subset}-400-normal", "ibm-plex-mono-{subset}-600-normal"],
    },
    "omade": {
        "@fontsource-variable/fraunces": ["fraunces-{subset}-soft-normal", "fraunces-{subset}-soft-italic"],
        "@fontsource-variable/nunito-sans": ["nunito-sans-{subset}-wght-normal"],
    },
}


class Vendored:
    """Unpacked packages, and a record of every file taken from them."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._folders: dict[str, Path] = {}
        self.taken: dict[str, list[Path]] = {name: [] for name in PACKAGES}

    def folder(self, package: str) -> Path:
        """The unpacked package, fetched on first use; npm itself checks the archive's integrity."""
        if package not in self._folders:
            version, _licence = PACKAGES[package]
            target = self._workspace / re.sub(r"\W+", "-", package)
            target.mkdir()
            command = ["npm", "pack", "--silent", "--pack-destination", str(target), f"{package}@{version}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            archive = next(target.glob("*.tgz"))
            with tarfile.open(archive) as packed:
                packed.extractall(target, filter="data")
            self._folders[package] = target / "package"
        return self._folders[package]

    def write(self, package: str, content: bytes, destination: Path) -> None:
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(content)
        self.taken[package].append(destination)

    def copy(self, package: str, source: str, destination: Path) -> None:
        self.write(package, (self.folder(package) / source).read_bytes(), destination)


def vendor_htmx(vendored: Vendored) -> None:
    vendored.copy("htmx.org", "dist/htmx.min.js", VENDOR / "htmx.min.js")
    vendored.copy("htmx.org", "LICENSE", VENDOR / "htmx.LICENSE.txt")


def vendor_player(vendored: Vendored) -> None:
    """The player for browsers that do not play HLS by themselves, without subtitles, other languages and DRM."""
    vendored.copy("hls.js", "dist/hls.light.min.js", VENDOR / "hls.light.min.js")
    vendored.copy("hls.js", "LICENSE", VENDOR / "hls.LICENSE.txt")


def vendor_icons(vendored: Vendored) -> None:
    """One sprite of symbols, so that a page names an icon instead of repeating its paths."""
    folder = vendored.folder("lucide-static")
    symbols = []
    for name in ICONS.split():
        svg = (folder / "icons" / f"{name}.svg").read_text()
        drawing = re.sub(r"\s+", " ", svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]).strip()
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{drawing.replace(" />", "/>")}</symbol>')
    version, licence = PACKAGES["lucide-static"]
    sprite = f'<!-- lucide-static {version}, {licence} -->\n<svg xmlns="http://www.w3.org/2000/svg">\n'
    content = sprite + "\n".join(symbols) + "\n</svg>\n"
    vendored.write("lucide-static", content.encode(), VENDOR / "icons.svg")
    vendored.copy("lucide-static", "LICENSE", VENDOR / "lucide.LICENSE.txt")


def vendor_fonts(vendored: Vendored) -> None:
    for store, packages in FONTS.items():
        target = PRESETS / store / "theme/fonts"
        shutil.rmtree(target, ignore_errors=True)
        for package, names in packages.items():
            for name in names:
                for subset in ("latin", "latin-ext"):
                    file = f"{name.format(subset=subset)}.woff2"
                    vendored.copy(package, f"files/{file}", target / file)
            vendored.copy(package, "LICENSE", target / f"{package.rpartition('/')[2]}.LICENSE.txt")


def categories_of(store: Path) -> Iterator[tuple[str, str]]:
    """Slug and emoji of each category in a preset; a preset without settings yet has none."""
    settings = store / "store.toml"
    if settings.is_file():
        for category in tomllib.loads(settings.read_text()).get("categories", []):
            yield category["slug"], category["emoji"]


def emoji_file(folder: Path, emoji: str) -> Path:
    """The picture of an emoji, whose file name is its code points with or without the variation selector.

    Raises:
        FileNotFoundError: the set does not draw this emoji.
    """
    points = [f"{ord(character):04x}" for character in emoji]
    bare = [point for point in points if point != "fe0f"]
    for candidate in (points, bare, [*bare, "fe0f"], [bare[0], "fe0f", *bare[1:]]):
        path = folder / "assets" / f"{'-'.join(candidate)}.webp"
        if path.is_file():
            return path
    raise FileNotFoundError(f"{emoji} is not in the emoji set")


def vendor_category_pictures(vendored: Vendored) -> None:
    """Category pictures by slug, because many machines have no colour emoji of their own."""
    package = "@lobehub/fluent-emoji-3d"
    for store in sorted(path for path in PRESETS.iterdir() if path.is_dir()):
        target = store / "theme/categories"
        shutil.rmtree(target, ignore_errors=True)
        for slug, emoji in categories_of(store):
            drawing = Image.open(emoji_file(vendored.folder(package), emoji)).convert("RGBA")
            drawing = drawing.resize((CATEGORY_PICTURE_PX, CATEGORY_PICTURE_PX), Image.Resampling.LANCZOS)
            packed = io.BytesIO()
            drawing.save(packed, "WEBP", quality=82, method=6)
            vendored.write(package, packed.getvalue(), target / f"{slug}.webp")


def readme(vendored: Vendored) -> str:
    lines = [
        "# Vendored files",
        "",
        "Written by `tools/vendor_frontend.py`; change versions there, not here. Source: the npm packages named below.",
        "Fluent Emoji are drawn by Microsoft (MIT); Lucide's icons are ISC, some of them from Feather (MIT).",
    ]
    for package, files in vendored.taken.items():
        version, licence = PACKAGES[package]
        lines += ["", f"## {package} {version} ({licence})", ""]
        for file in sorted(files):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            lines.append(f"- `{file.relative_to(ROOT / 'src/tradepost')}` {digest}")
    return "\n".join(lines) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as workspace:
        vendored = Vendored(Path(workspace))
        vendor_htmx(vendored)
        vendor_player(vendored)
        vendor_icons(vendored)
        vendor_fonts(vendored)
        vendor_category_pictures(vendored)
        (VENDOR / "README.md").write_text(readme(vendored))
    for package, files in vendored.taken.items():
        print(f"{package} {PACKAGES[package][0]}: {len(files)} files")


if __name__ == "__main__":
    main()
