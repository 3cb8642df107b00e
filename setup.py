"""Builds the package from settings.ini, the one place for names, versions and requirements."""
from configparser import ConfigParser
from pathlib import Path
from shlex import split

from setuptools import find_packages, setup

here = Path(__file__).resolve().parent
ini = ConfigParser()
ini.read(here / "settings.ini", encoding="utf8")
cfg = ini["DEFAULT"]
lib, readme = cfg["lib_path"], here / "README.md"

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=readme.read_text(encoding="utf8") if readme.exists() else cfg["description"],
    long_description_content_type="text/markdown",
    author=cfg["author"],
    url=cfg["git_url"],
    keywords=cfg["keywords"].split(),
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=["Development Status :: 3 - Alpha", "Intended Audience :: Developers", "Programming Language :: Python :: 3"],
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=[lib, f"{lib}.*"]) or [lib],
    package_data={lib: ["data/**/*"]},
    install_requires=split(cfg["requirements"]),
    extras_require={k.removesuffix("_requirements"): split(v) for k, v in cfg.items() if k.endswith("_requirements")},
    entry_points={"console_scripts": split(cfg["console_scripts"]), "nbdev": [f"{lib}={lib}._modidx:d"]},
    zip_safe=False,
)
