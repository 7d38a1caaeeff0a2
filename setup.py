"""Map the repository's root folders onto the `stark` namespace, so that `crds/` is imported as `stark.crds`."""

from pathlib import Path

from setuptools import find_packages, setup

ROOTS = ("crds", "client", "apiserver", "controllers", "agent", "ctl", "manifests")

packages = [f"stark.{name}" for root in ROOTS for name in (root, *(f"{root}.{sub}" for sub in find_packages(root)))]
version = (Path(__file__).parent / "crds" / "version.py").read_text().split('VERSION = "')[1].split('"')[0]

setup(
    version=version,
    packages=packages,
    package_dir={f"stark.{root}": root for root in ROOTS},
    include_package_data=False,
    package_data={
        "": ["*.yaml", "*.json", "*.js", "*.mjs", "*.cjs", "*.html", "*.css", "py.typed"],
        "stark.manifests": ["**/*"],
        "stark.apiserver.agentpage": ["dist/**/*"],  # the page for browsers, where it was built (`make browser`)
    },
)
